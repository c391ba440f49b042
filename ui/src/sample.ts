/** What the sandbox holds from the start, for a first transfer without any file of one's own. */
export const SAMPLE = 'sample-64mib';
