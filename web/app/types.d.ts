/** What the API takes and tells, as its OpenAPI document has it. */

import type * as shapes from "../../clients/typescript/src/schema.js";

export type { Batch, ImageRecord, Job, Model, Problem } from "../../clients/typescript/src/types.js";
import type { Model } from "../../clients/typescript/src/types.js";

export type Inspection = shapes.Inspection;
export type Style = shapes.Style;
export type Me = shapes.Me;
export type ListedImage = Required<shapes.ListedImage> & { url: string };
export type QueueListing = shapes.QueueListing;
export type Worker = Required<shapes.WorkerInfo>;
/** As `/readyz` tells it; away: it answers 503. */
export type Ready = Omit<shapes.Ready, "status"> & { status: shapes.Ready["status"] | "away" };
export type Check = shapes.Check;
/** A model with all that is known of what it takes. */
export type ModelWithSchemas = Model & Pick<shapes.ModelWithSchemas, "vocabulary"> & { schemas: Record<string, Schema> };

/** A JSON Schema, as far as the form reads it. */
export interface Schema {
  type?: string;
  title?: string;
  description?: string;
  default?: unknown;
  enum?: unknown[];
  const?: unknown;
  anyOf?: Schema[];
  $ref?: string;
  $defs?: Record<string, Schema>;
  properties?: Record<string, Schema>;
  additionalProperties?: boolean | Schema;
  items?: Schema;
  required?: string[];
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  multipleOf?: number;
  minLength?: number;
  maxLength?: number;
  maxItems?: number;
  pattern?: string;
  "x-names"?: Record<string, string>;
}

/** A field of a form. */
export interface Field {
  name: string;
  label: string;
  help: string;
  kind: "whole" | "number" | "choice" | "yes" | "text" | "line" | "group" | "words" | "pairs" | "json";
  /** What is taken where nothing is given; undefined where nothing is said of it. */
  default: unknown;
  nullable: boolean;
  required: boolean;
  min: number | null;
  max: number | null;
  step: number;
  maxLength: number | null;
  maxItems: number | null;
  choices: { value: unknown; label: string }[];
  inner: Field[];
}

/** Values by the names of fields. */
export type Values = Record<string, unknown>;
