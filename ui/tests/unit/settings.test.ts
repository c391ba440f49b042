import { beforeEach, describe, expect, test, vi } from 'vitest';

import type { Settings } from '../../src/engine/types';
import { world } from '../scenarios';

/** The engine's copy, which others change, too. */
let held: Settings;
const saveSettings = vi.fn<(changes: Partial<Settings>) => Promise<Settings>>();
const resetSettings = vi.fn<() => Promise<Settings>>();

vi.mock('../../src/engine/ipc', () => ({
  saveSettings: (changes: Partial<Settings>) => saveSettings(changes),
  resetSettings: () => resetSettings(),
}));

const { settings } = await import('../../src/engine/settings.svelte');

beforeEach(() => {
  held = world('empty').opening.settings;
  saveSettings.mockReset().mockImplementation((changes) => Promise.resolve((held = { ...held, ...changes })));
  settings.set(held, '/downloads');
});

describe('a change of the settings', () => {
  test('sends only what it changes, so that nothing older is written back', async () => {
    // Somebody else changed the default meanwhile, and the page has not heard of it yet.
    held = { ...held, default_service: 'mavi' };
    await settings.save({ notifications: false });
    expect(saveSettings).toHaveBeenCalledExactlyOnceWith({ notifications: false });
    expect(held.default_service).toBe('mavi');
    expect(settings.current).toMatchObject({ notifications: false, default_service: 'mavi' });
  });

  test('is shown at once, goes back when it is refused, and leaves other changes alone', async () => {
    const before = held.retries;
    saveSettings.mockImplementationOnce(() => Promise.reject(new Error('refused')));
    const refused = settings.save({ retries: 101 });
    const other = settings.save({ connections: 3 });
    expect(settings.current).toMatchObject({ retries: 101, connections: 3 });
    await expect(refused).rejects.toThrow('refused');
    await other;
    expect(settings.current).toMatchObject({ retries: before, connections: 3 });
  });

  test('goes out after the one before, so that the later of two counts', async () => {
    const answers: (() => void)[] = [];
    saveSettings.mockImplementation(
      (changes) => new Promise((done) => answers.push(() => done((held = { ...held, ...changes })))),
    );
    const both = [settings.save({ retries: 1 }), settings.save({ retries: 2 })];
    await vi.waitFor(() => expect(answers).toHaveLength(1));
    answers[0]?.();
    await vi.waitFor(() => expect(answers).toHaveLength(2));
    answers[1]?.();
    await Promise.all(both);
    expect(held.retries).toBe(2);
    expect(settings.current?.retries).toBe(2);
  });

  test('what is told while one is under way does not take it back', async () => {
    let answer: () => void = () => undefined;
    saveSettings.mockImplementationOnce(
      (changes) => new Promise((done) => (answer = () => done((held = { ...held, ...changes })))),
    );
    const saving = settings.save({ density: 'compact' });
    settings.set({ ...held, default_service: 'mavi' });
    expect(settings.current).toMatchObject({ density: 'compact', default_service: 'mavi' });
    await vi.waitFor(() => expect(saveSettings).toHaveBeenCalled());
    answer();
    await saving;
    expect(settings.current?.density).toBe('compact');
  });

  test('a reset is taken back by what it changed and nothing else', async () => {
    settings.set({ ...held, density: 'compact', retries: 9 });
    resetSettings.mockResolvedValue({ ...held, density: 'normal', retries: 5 });
    expect(await settings.reset()).toEqual({ density: 'compact', retries: 9 });
  });
});
