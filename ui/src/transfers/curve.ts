/** Speed over time: as an outline to draw and as one number. */
import type { SpeedSample } from '../engine/types';

/** The outline of a curve in a box of that size, with its foot on the bottom edge. */
export function outline(samples: SpeedSample[], width: number, height: number): { line: string; area: string } {
  const [first] = samples;
  const last = samples.at(-1);
  if (!first || !last || samples.length < 2) return { line: '', area: '' };
  const peak = Math.max(1, ...samples.map((sample) => sample.speed));
  const span = Math.max(1, last.at - first.at);
  const points = samples.map((sample) => {
    const x = ((sample.at - first.at) / span) * width;
    const y = height - (sample.speed / peak) * (height - 2);
    return `${x.toFixed(1)} ${y.toFixed(1)}`;
  });
  const line = `M${points.join('L')}`;
  return { line, area: `${line}L${width} ${height}L0 ${height}Z` };
}

/** The mean over time: a sample counts until the next one comes. */
export function mean(samples: SpeedSample[]): number {
  let moved = 0;
  samples.forEach((sample, index) => {
    const before = samples[index - 1];
    if (before) moved += ((before.speed + sample.speed) / 2) * (sample.at - before.at);
  });
  const span = (samples.at(-1)?.at ?? 0) - (samples[0]?.at ?? 0);
  return span > 0 ? moved / span : (samples[0]?.speed ?? 0);
}
