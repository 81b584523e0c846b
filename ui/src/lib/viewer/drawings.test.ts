import { describe, expect, it } from 'vitest';
import { Drawings } from './drawings';

const later = (ms = 0) => new Promise((done) => setTimeout(done, ms));

/** Draws until told that it is done, and notes what it drew. */
function studio(settled = 0) {
  const drawn: string[] = [];
  const finish: (() => void)[] = [];
  const drawings = new Drawings(settled);
  const want = (name: string, order: number) =>
    drawings.want(
      () => order,
      () =>
        new Promise<void>((done) => {
          drawn.push(name);
          finish.push(done);
        }),
    );
  return { drawn, finish, drawings, want };
}

describe('drawings', () => {
  it('come one at a time, the nearest first, without those that are no longer wanted', async () => {
    const { drawn, finish, want } = studio();
    want('far', 9);
    await later();
    const stops = [want('farther', 10), want('gone', 0), want('near', 1)];
    stops[1]!();
    await later();
    expect(drawn).toEqual(['far']);
    finish[0]!();
    await later();
    expect(drawn).toEqual(['far', 'near']);
    finish[1]!();
    await later();
    expect(drawn).toEqual(['far', 'near', 'farther']);
  });

  it('are not begun for what passes by', async () => {
    const { drawn, want } = studio(60);
    const stop = want('passed', 0);
    await later(10);
    stop();
    want('stayed', 1);
    await later(150);
    expect(drawn).toEqual(['stayed']);
  });

  it('wait while whoever scrolls is fast', async () => {
    const { drawn, drawings, want } = studio();
    want('first', 0);
    await later();
    const held = studio();
    held.drawings.hold(80);
    held.want('soon', 0);
    await later(30);
    expect(held.drawn).toEqual([]);
    await later(120);
    expect(held.drawn).toEqual(['soon']);
    // What is being drawn is not broken off.
    drawings.hold(80);
    expect(drawn).toEqual(['first']);
  });

  it('go on after one that fails', async () => {
    const { drawn, drawings, want } = studio();
    drawings.want(
      () => 0,
      () => Promise.reject(new Error('no such page')),
    );
    want('next', 1);
    await later(5);
    expect(drawn).toEqual(['next']);
  });
});
