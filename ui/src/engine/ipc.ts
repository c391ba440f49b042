/** The only door to the engine: commands, the one stream of changes, and what is dropped on the window. */
import { listen } from '@tauri-apps/api/event';

import type { Failure, ListChanges } from './types';

export * from './client';

export type Unlisten = () => void;

export const onChanges = (handle: (changes: ListChanges) => void): Promise<Unlisten> =>
  listen<ListChanges>('transfers-changed', (event) => handle(event.payload));

export const onLink = (handle: () => void): Promise<Unlisten> => listen('link-opened', handle);

/** A command that was chosen in the menu bar of a Mac. */
export const onCommand = (handle: (id: string) => void): Promise<Unlisten> =>
  listen<string>('command-chosen', (event) => handle(event.payload));

export type Drop = { type: 'enter' | 'over' | 'drop'; paths: string[]; x: number; y: number } | { type: 'leave' };

/** As the shell tells it: where is a share of the window, and the paths of what is moved across it are known. */
export type Held =
  | { type: 'enter' | 'drop'; paths: string[]; x: number; y: number }
  | { type: 'over'; x: number; y: number }
  | { type: 'leave' };

/** Files dragged over the window. Paths come from the system, positions in CSS pixels. */
export function onDrop(handle: (drop: Drop) => void): Promise<Unlisten> {
  let paths: string[] = [];
  return listen<Held>('files-held', ({ payload }) => {
    if (payload.type === 'leave') {
      handle(payload);
      return;
    }
    if (payload.type !== 'over') ({ paths } = payload);
    const { type, x, y } = payload;
    handle({ type, paths, x: x * window.innerWidth, y: y * window.innerHeight });
  });
}

/** Commands fail with a `Failure`; anything else is a fault in Ferry and is shown as one. */
export function asFailure(error: unknown): Failure {
  if (isFailure(error)) return error;
  const why = error instanceof Error ? error.message : String(error);
  return { code: 'internal', what: { is: 'fault_inside' }, why, advice: { is: 'send_report' }, remedy: 'report' };
}

function isFailure(error: unknown): error is Failure {
  return typeof error === 'object' && error !== null && 'code' in error && 'what' in error && 'remedy' in error;
}
