// Shapes that a model can make: usual ratios of sides, with about as many pixels as its own size.

/** @typedef {{ label: string, width: number, height: number }} ShapePreset */
/** @typedef {{ min_size: number, max_size: number, max_pixels: number, size_multiple: number }} Limits */

const RATIOS = /** @type {const} */ ([
  [1, 1],
  [4, 3],
  [3, 2],
  [16, 9],
  [3, 4],
  [2, 3],
  [9, 16],
]);

/** Those within the limits, none twice. @param {Limits} limits @param {number} pixels of the model's own size
 * @returns {ShapePreset[]} */
export function presets(limits, pixels) {
  const found = RATIOS.flatMap(([across, down]) => {
    const height = Math.sqrt((pixels * down) / across);
    const sides = [fit((height * across) / down, limits), fit(height, limits)];
    const [width = 0, tall = 0] = sides;
    const isClose = Math.abs(Math.log((width / tall) * (down / across))) < 0.16;
    const isAllowed = width * tall <= limits.max_pixels && isClose;
    return isAllowed ? [{ label: `${across}:${down}`, width, height: tall }] : [];
  });
  return found.filter((each, n) => found.findIndex((one) => one.width === each.width && one.height === each.height) === n);
}

/** The nearest side that the model makes. @param {number} side @param {Limits} limits */
function fit(side, { min_size: min, max_size: max, size_multiple: step }) {
  const least = Math.ceil(min / step) * step;
  const most = Math.floor(max / step) * step;
  return Math.min(Math.max(Math.round(side / step) * step, least), most);
}
