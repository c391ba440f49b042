/** Something that can be done by name or by key. */
export interface Command {
  id: string;
  label: () => string;
  /** `Mod` is Ctrl, or ⌘ on a Mac. */
  keys?: string;
  group: 'app' | 'list';
  /** Does something with many rows at once that is not meant by chance. */
  sweeping?: true;
  /** Also on the first screen, which it ends. */
  early?: true;
  /** Works only while the list has the focus, because the key means something else in a text field or on a button. */
  run: () => unknown;
}
