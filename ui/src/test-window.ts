/** The whole window, opened over a fake engine: what tests of it share. */
import { render, screen } from '@testing-library/svelte';
import userEvent from '@testing-library/user-event';
import axe from 'axe-core';
import App from './App.svelte';
import { FakeBackend, type FakeBackendOptions } from './lib/fake/backend';
import { BOHEMIA } from './lib/fake/bohemia';
import { FakeDocument } from './lib/fake/document';

export const TITLE = 'A Scandal in Bohemia';

const READINGS = {
  read: { state: 'read', tokens: 900, cache_bytes: 1 },
  unread: { state: 'unread' },
  too_long: { state: 'too_long', tokens: 90_000, window: 8192 },
} as const;

export const FORECAST = {
  tokens: 5300,
  cache_bytes: 19_000_000,
  seconds: 151,
  error: 0.08,
  fits: true,
  gpu: '0.9 GB on the GPU: model 0.5 GB, pages 19 MB',
};

/** The document of these tests, in some state of being read. */
export function bohemia(reading: keyof typeof READINGS = 'read'): FakeDocument {
  return new FakeDocument({
    id: 'd1',
    title: TITLE,
    format: 'text',
    text: BOHEMIA,
    reading: READINGS[reading],
    ...(reading === 'unread' && { forecast: FORECAST }),
  });
}

/** The window over a fake engine, and someone who uses it. */
export function open(options: FakeBackendOptions = {}) {
  const backend = new FakeBackend(options);
  render(App, { props: { backend } });
  return { backend, user: userEvent.setup() };
}

/** Types a question and sends it. */
export async function ask(user: ReturnType<typeof userEvent.setup>, question: string): Promise<void> {
  await user.type(await screen.findByRole('textbox', { name: 'Ask a question' }), `${question}{Enter}`);
}

/** What axe finds wrong. Rules that need real layout or the whole page are left to the real window. */
export async function faults(): Promise<string[]> {
  const rules = { 'color-contrast': { enabled: false }, region: { enabled: false } };
  const { violations } = await axe.run(document.body, { rules });
  return violations.map((fault) => `${fault.id}: ${fault.nodes.map((node) => node.html).join(' | ')}`);
}
