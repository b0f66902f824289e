/** What Darkroom takes and tells, by its OpenAPI document. */

import type * as shapes from "./schema.js";

/** A field that has a default may be left out of what is sent; of what is told none is left out. */
type Told<T> = T extends (infer Each)[]
  ? Told<Each>[]
  : T extends object
    ? { [Name in keyof T]-?: Told<T[Name]> }
    : T;

export type Job = Told<shapes.Job>;
export type ImageRecord = Told<shapes.ImageRecord>;
export type Batch = Told<shapes.Batch>;
export type KeptFile = Told<shapes.KeptFile>;
export type DryRun = Told<shapes.DryRun>;
export type BatchDryRun = Told<shapes.BatchDryRun>;
export type Model = Told<shapes.Model>;
export type Problem = Told<shapes.Problem>;
export type JobStatus = shapes.JobStatus;
export type JobMarks = shapes.JobMarks;

/** A request by any task, with what can be said of its job. */
export type RequestFields =
  | shapes.TextToImage
  | shapes.ImageToImage
  | shapes.Inpaint
  | shapes.Edit
  | shapes.Upscale
  | shapes.LayoutToImage
  | shapes.ClassToImage
  | shapes.Unconditional;

/** A list of requests, or one with lists of values for some of its fields. */
export type BatchFields = shapes.JobList | shapes.JobGrid;

/** Fields that take the place of those of another job; what is null is chosen anew. */
export type Changes = { [Name in FieldName]?: unknown };
type FieldName = RequestFields extends infer Each ? (Each extends unknown ? keyof Each : never) : never;

/** What `data` of an event of each kind is. */
export interface EventData {
  status: Told<shapes.StatusChanged>;
  progress: Told<shapes.Progress>;
  preview: Told<shapes.Previewed>;
  image: ImageRecord;
  log: Told<shapes.Logged>;
  done: Told<shapes.Ended>;
  /** Events may be lost: list the jobs. Only in the stream of all jobs. */
  missed: Told<shapes.Missed>;
}

export type EventKind = keyof EventData;

/** Something that happened to a job. */
export type Event = {
  [Kind in EventKind]: {
    /** Its place in the stream, which can be taken up again behind it. */
    id: string;
    kind: Kind;
    data: EventData[Kind];
    /** Whose it is; null for `missed`. */
    jobId: string | null;
  };
}[EventKind];
