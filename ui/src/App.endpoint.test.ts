import { screen, waitFor, within } from '@testing-library/svelte';
import { describe, expect, it } from 'vitest';
import { TITLE, ask, bohemia, faults, open } from './test-window';

describe('the window', () => {
  it('lets a server answer only when the person agrees to what is sent, and shows that it does', async () => {
    // No model is needed on this machine.
    const { backend, user } = open({ documents: [bohemia('unread')], model: false });
    await screen.findByRole('heading', { name: TITLE, level: 1 });
    expect(screen.queryByText(/Answers come from/)).toBeNull();
    const settings = async () => user.click(screen.getByRole('button', { name: 'Settings' }));
    const save = async () => user.click(screen.getByRole('button', { name: 'Save' }));
    await settings();
    await user.type(await screen.findByLabelText('Address'), 'gpu');
    await user.type(screen.getByLabelText(/Model, as the server/), 'qwen3-32b');
    await user.type(screen.getByLabelText('Key'), 'sk-secret');
    await user.click(screen.getByLabelText('Let this server answer'));
    await save();
    // What is no address is told, and nothing is set.
    expect(await screen.findByRole('alert')).toHaveTextContent('cannot be the address of a server');
    await user.clear(screen.getByLabelText('Address'));
    await user.type(screen.getByLabelText('Address'), 'http://gpu.example:8000/v1');
    await save();
    expect(await screen.findByRole('dialog', { name: 'Send questions to gpu.example:8000?' })).toBeVisible();
    expect(screen.getByText(/Each question goes to gpu.example:8000/)).toBeVisible();
    expect(screen.getByText(/not encrypted/)).toBeVisible();
    expect(screen.getByText(/The key that you entered goes along/)).toBeVisible();
    expect(await faults()).toEqual([]);
    // Not yet: what was entered is still there.
    await user.click(screen.getByRole('button', { name: 'Back' }));
    expect(screen.getByLabelText('Address')).toHaveValue('http://gpu.example:8000/v1');
    expect(backend.requests.some(({ method }) => method === 'change_settings' || method === 'keep_endpoint_key')).toBe(false);
    expect(backend.settings.endpoint.on).toBe(false);
    await save();
    await user.click(await screen.findByRole('button', { name: 'Send them there' }));
    await waitFor(() => expect(backend.settings.endpoint.on).toBe(true));
    expect(backend.key).toEqual({ host: 'gpu.example:8000', key: 'sk-secret' });
    expect(JSON.stringify(backend.settings)).not.toContain('sk-secret');

    const notice = await screen.findByRole('complementary', { name: 'Who answers' });
    expect(notice).toHaveTextContent('Answers come from gpu.example:8000 (qwen3-32b)');
    expect(notice).toHaveTextContent('the connection is not encrypted');
    await ask(user, 'Who is Irene Adler?');
    expect(await screen.findByText(/^Answered by qwen3-32b at gpu.example:8000/)).toBeVisible();
    expect(await faults()).toEqual([]);

    // The key is never shown again, and forgotten when that is asked for; saving what stays needs no second consent.
    await user.click(screen.getByRole('button', { name: /^Answers from/ }));
    const key = await screen.findByLabelText('Key');
    expect(key).toHaveValue('');
    expect(key).toHaveAttribute('type', 'password');
    await user.click(await screen.findByRole('button', { name: 'Forget' }));
    await waitFor(() => expect(backend.key).toBeNull());
    await save();
    await waitFor(() => expect(screen.queryByRole('dialog')).toBeNull());

    // Another server needs another consent.
    await settings();
    await user.clear(await screen.findByLabelText('Address'));
    await user.type(screen.getByLabelText('Address'), 'https://other.example/v1');
    await save();
    expect(await screen.findByRole('dialog', { name: 'Send questions to other.example?' })).toBeVisible();
    await user.click(screen.getByRole('button', { name: 'Close' }));
    expect(backend.settings.endpoint.url).toBe('http://gpu.example:8000/v1');

    await user.click(within(notice).getByRole('button', { name: 'Turn off' }));
    await waitFor(() => expect(screen.queryByText(/Answers come from/)).toBeNull());
    expect(backend.settings.endpoint).toMatchObject({ on: false, url: 'http://gpu.example:8000/v1' });
  });
});
