/** A video that the sandbox holds from the start: a first transfer without any file of one's own. */
export const SAMPLE = 'VI100000000000000002';
