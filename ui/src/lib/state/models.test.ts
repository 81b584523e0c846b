import { describe, expect, it } from 'vitest';
import { FakeBackend } from '../fake/backend';
import { FakeDocument } from '../fake/document';
import { Session } from './session.svelte';

function downloads(backend: FakeBackend): string[] {
  return backend.requests.flatMap((request) => (request.method === 'download_model' ? [request.params.name] : []));
}

function reads(backend: FakeBackend): string[] {
  return backend.requests.flatMap((request) => (request.method === 'read' ? [request.params.document] : []));
}

async function session(model: boolean) {
  const document = (id: string, state: 'read' | 'unread') =>
    new FakeDocument({
      id,
      title: id,
      format: 'text',
      text: 'Words.',
      reading: state === 'read' ? { state, tokens: 9, cache_bytes: 1 } : { state },
    });
  const backend = new FakeBackend({ documents: [document('known', 'read'), document('new', 'unread')], model });
  const session = new Session(backend);
  await Promise.all([session.models.refresh(), session.library.refresh()]);
  return { backend, session, models: session.models };
}

describe('the models', () => {
  it('that answer bring along what finds passages, once', async () => {
    const { backend, models } = await session(false);
    await models.download('smollm2-135m');
    expect(downloads(backend)).toEqual(['smollm2-135m', 'minilm']);
    expect(models.embedder?.installed).toBe(true);
    expect(models.current?.name).toBe('smollm2-135m');
    await models.download('qwen2.5-1.5b');
    expect(downloads(backend)).toEqual(['smollm2-135m', 'minilm', 'qwen2.5-1.5b']);
  });

  it('that recognise pages bring nothing along', async () => {
    const { backend, models } = await session(true);
    await models.download('ocr');
    expect(downloads(backend)).toEqual(['ocr']);
  });

  it('have what was read without it gone through when what finds passages comes', async () => {
    const { backend, models } = await session(true);
    await models.download('minilm');
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(reads(backend)).toEqual(['known']);
  });
});
