import { toasts } from './toasts.svelte';

/** Runs something that may be refused, and says so if it is. Answers whether it went well. */
export async function attempt(run: () => unknown): Promise<boolean> {
  try {
    await run();
    return true;
  } catch (error) {
    toasts.fail(error);
    return false;
  }
}
