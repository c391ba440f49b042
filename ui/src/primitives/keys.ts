/** Combinations of keys: `Mod` is Ctrl, or ⌘ on a Mac. */
export const isMac = typeof navigator !== 'undefined' && /mac/i.test(navigator.userAgent);

/** Whether this press of a key is that combination. */
export function pressed(event: KeyboardEvent, keys: string): boolean {
  const parts = keys.split('+');
  const key = parts.pop() ?? '';
  const mod = isMac ? event.metaKey : event.ctrlKey;
  const other = isMac ? event.ctrlKey : event.metaKey;
  // `?` needs Shift on some keyboards and not on others: the character alone decides.
  const shift = key === '?' ? true : event.shiftKey === parts.includes('Shift');
  const name = event.key === ' ' ? 'Space' : event.key === 'Backspace' && isMac ? 'Delete' : event.key;
  return (
    name.toLowerCase() === key.toLowerCase() &&
    mod === parts.includes('Mod') &&
    !other &&
    event.altKey === parts.includes('Alt') &&
    shift
  );
}

const macSigns: Record<string, string> = { Mod: '⌘', Alt: '⌥', Shift: '⇧', Enter: '↩', Delete: '⌫' };
const plainSigns: Record<string, string> = { Mod: 'Ctrl' };
const arrows: Record<string, string> = { ArrowUp: '↑', ArrowDown: '↓' };

/** The keys as they are printed: `['Ctrl', 'O']`. */
export function printed(keys: string): string[] {
  const signs = isMac ? macSigns : plainSigns;
  return keys.split('+').map((key) => signs[key] ?? arrows[key] ?? key);
}
