/** A made-up language that reads from right to left and takes more room than English: what breaks in it would break in a real one. */
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** By its name Intl and the browser know that it runs from right to left. */
export const PSEUDO = 'ar-XB';

const RIGHT_TO_LEFT_OVERRIDE = '\u202e';
const END_OF_OVERRIDE = '\u202c';

/** `Pause {n}` → `Paauusee {n}`, shown mirrored; what is filled in stays as it is. */
const mirrored = (text: string) =>
  text
    .split(/(\{\w+\})/)
    .map((part) =>
      part.startsWith('{') || !part
        ? part
        : `${RIGHT_TO_LEFT_OVERRIDE}${part.replace(/[aeiou]/gi, '$&$&')}${END_OF_OVERRIDE}`,
    )
    .join('');

interface Variants {
  match: Record<string, string>;
}

/** Writes an inlang project with the languages of the window and this one into that folder, and answers its path. */
export function makeProject(ui: string, folder: string): string {
  const settings = JSON.parse(readFileSync(join(ui, 'project.inlang', 'settings.json'), 'utf8')) as {
    locales: string[];
    modules: string[];
  };
  cpSync(join(ui, 'messages'), join(folder, 'messages'), { recursive: true });
  const english = JSON.parse(readFileSync(join(ui, 'messages', 'en.json'), 'utf8')) as Record<
    string,
    string | Variants[]
  >;
  const words = Object.entries(english).map(([name, message]) => {
    if (name === '$schema') return [name, message];
    if (typeof message === 'string') return [name, mirrored(message)];
    // Arabic has six plural forms; one for all of them is enough to be seen.
    return [
      name,
      message.map((one) => ({ ...one, match: { 'countPlural=*': mirrored(one.match['countPlural=other'] ?? '') } })),
    ];
  });
  writeFileSync(join(folder, 'messages', `${PSEUDO}.json`), JSON.stringify(Object.fromEntries(words)));
  const project = join(folder, 'project.inlang');
  mkdirSync(project, { recursive: true });
  writeFileSync(
    join(project, 'settings.json'),
    JSON.stringify({
      ...settings,
      locales: [...settings.locales, PSEUDO],
      modules: settings.modules.map((module) => join(ui, module)),
    }),
  );
  return project;
}
