import { mount } from 'svelte';
import App from './App.svelte';
import './app.css';
import type { Backend } from './lib/backend';

/** The real backend in the window; the fake one in a plain browser (`?fake`), which is built only for development. */
async function backend(): Promise<Backend> {
  if (import.meta.env.DEV || import.meta.env.VITE_FAKE) {
    const kind = new URLSearchParams(location.search).get('fake') ?? import.meta.env.VITE_FAKE;
    if (kind !== undefined && kind !== null) return (await import('./lib/fake/demo')).demo(kind);
  }
  const { TauriBackend } = await import('./lib/backend/tauri');
  return new TauriBackend();
}

const target = document.getElementById('app');
if (target) void backend().then((backend) => mount(App, { target, props: { backend } }));
