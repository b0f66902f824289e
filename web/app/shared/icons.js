// Drawings of one line each; all are decoration beside words or a label.

import { html } from "../html.js";

const PATHS = {
  sun: "M10 3v1.5M10 15.5V17M3 10h1.5M15.5 10H17M5 5l1 1M14 14l1 1M5 15l1-1M14 6l1-1M13 10a3 3 0 1 1-6 0 3 3 0 0 1 6 0Z",
  moon: "M16 11.6A6.4 6.4 0 0 1 8.4 4a6.4 6.4 0 1 0 7.6 7.6Z",
  system: "M3.5 4.5h13v9h-13zM7.5 16.5h5M10 13.5v3",
  dice: "M4 4h12v12H4zM7.2 7.2v.1M12.8 12.8v.1M12.8 7.2v.1M7.2 12.8v.1M10 10v.1",
  locked: "M5.5 9.5h9v7h-9zM7.5 9.5V7a2.5 2.5 0 0 1 5 0v2.5",
  open: "M5.5 9.5h9v7h-9zM7.5 9.5V6a2.5 2.5 0 0 1 4.8-1",
  again: "M15.5 7.5A6 6 0 1 0 16 11M16 4v3.7h-3.7",
  swap: "M4 7h10.5M12 4l3 3-3 3M16 13H5.5M8 10l-3 3 3 3",
  close: "M5 5l10 10M15 5 5 15",
  more: "M10 4v12M4 10h12",
  less: "M4 10h12",
  star: "M10 3.5l2 4.3 4.7.5-3.5 3.2 1 4.6-4.2-2.4-4.2 2.4 1-4.6-3.5-3.2 4.7-.5Z",
  save: "M10 3.5v9M6.5 9.5 10 13l3.5-3.5M4 16.5h12",
  chain: "M8.5 11.5a2.8 2.8 0 0 0 4 0l2.7-2.7a2.8 2.8 0 0 0-4-4L10 6M11.5 8.5a2.8 2.8 0 0 0-4 0l-2.7 2.7a2.8 2.8 0 0 0 4 4L10 14",
  bin: "M4 6h12M8 6V4h4v2M5.5 6l.7 10.5h7.6L14.5 6M8.5 9v4.5M11.5 9v4.5",
  before: "M12.5 4.5 7 10l5.5 5.5",
  after: "M7.5 4.5 13 10l-5.5 5.5",
  key: "M9 11a3.2 3.2 0 1 0-2 2l1.5-1.5M9 11l6.5-6.5M13 7l2 2",
};

/** @param {{ name: keyof typeof PATHS }} props */
export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 20 20" aria-hidden="true"><path d=${PATHS[name]} /></svg>`;
}
