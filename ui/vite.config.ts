import { svelte } from '@sveltejs/vite-plugin-svelte';
import { svelteTesting } from '@testing-library/svelte/vite';
import { createReadStream, existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

/** Folders of pdf.js that it loads by name while it draws: character maps, fonts, colour profiles, image decoders. */
const PDF_ASSETS = ['cmaps', 'standard_fonts', 'iccs', 'wasm'];

/** Serves those folders under /pdfjs/ in development and copies them there in a build: nothing comes from a network. */
function pdfAssets(): Plugin {
  const root = join(import.meta.dirname, 'node_modules/pdfjs-dist');
  return {
    name: 'pdfjs-assets',
    configureServer(server) {
      server.middlewares.use('/pdfjs', (request, response, next) => {
        const [folder, file] = (request.url ?? '').split('?')[0]!.split('/').slice(1);
        const path = folder && file && PDF_ASSETS.includes(folder) ? join(root, folder, file) : '';
        if (!path || !existsSync(path)) return next();
        if (path.endsWith('.wasm')) response.setHeader('Content-Type', 'application/wasm');
        createReadStream(path).pipe(response);
      });
    },
    generateBundle() {
      for (const folder of PDF_ASSETS) {
        for (const file of readdirSync(join(root, folder))) {
          const source = readFileSync(join(root, folder, file));
          this.emitFile({ type: 'asset', fileName: `pdfjs/${folder}/${file}`, source });
        }
      }
    },
  };
}

export default defineConfig({
  plugins: [svelte(), svelteTesting(), pdfAssets()],
  // The worker of pdf.js is a file of its own; everything else is one program, loaded from disk.
  build: { target: 'es2022', chunkSizeWarningLimit: 2048, assetsInlineLimit: 0 },
  server: { port: 5317, strictPort: true },
  clearScreen: false,
  test: {
    environment: 'jsdom',
    // Node lacks what the browser build of pdf.js stands on.
    alias: [{ find: /^pdfjs-dist$/, replacement: 'pdfjs-dist/legacy/build/pdf.mjs' }],
    setupFiles: ['src/test-setup.ts'],
    include: ['src/**/*.test.ts'],
    testTimeout: 120_000,
  },
});
