/** A client of Darkroom for Node and browsers. */

export { Darkroom } from "./client.js";
export type { Filters, Listing, Picture, Submission } from "./client.js";
export type { Asked, Options, Settings } from "./connection.js";
export { DarkroomError, NoPicturesError, NoServiceError, RefusedError } from "./errors.js";
export type * from "./types.js";
