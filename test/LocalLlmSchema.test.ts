/** What LocalLlm makes of JSON schemas: instances that the schema accepts, of a size that is bounded. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { instance } from "../src/internal/localSchema.ts"
import * as values from "../src/internal/localValues.ts"

const text = 'The "blue" bicycle of Ada Lovelace costs 12.50 in Berlin, weighs 9 kg and has 21 gears; price is 13.'

const make = (schema: object, from = text) => instance({ ...schema }, values.make(from, "the nearest sentence"))

/** A description of a schema, from which the schema is built: arbitrary data, so that it can be generated. */
type Shape =
  | { readonly kind: "text"; readonly min: number; readonly span: number }
  | { readonly kind: "whole" | "real"; readonly min: number; readonly span: number; readonly open: boolean }
  | { readonly kind: "truth" | "nothing" | "code" }
  | { readonly kind: "option"; readonly options: readonly [string, ...ReadonlyArray<string>] }
  | { readonly kind: "list"; readonly of: Shape; readonly min: number; readonly span: number }
  | { readonly kind: "nullable"; readonly of: Shape }
  | { readonly kind: "either"; readonly of: readonly [Shape, ...ReadonlyArray<Shape>] }
  | { readonly kind: "record"; readonly fields: Readonly<Record<string, readonly [Shape, boolean]>> }
  | { readonly kind: "pair"; readonly of: readonly [Shape, Shape] }

const small = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 4 }))
const bound = Schema.Int.check(Schema.isBetween({ minimum: -50, maximum: 50 }))
const span = Schema.Int.check(Schema.isBetween({ minimum: 2, maximum: 30 }))
const inner = Schema.suspend((): Schema.Codec<Shape> => Shape)
const field = Schema.Literals(["name", "price", "gears", "city", "a b", "$ref", "type"])

const Shape: Schema.Codec<Shape> = Schema.Union([
  Schema.Struct({ kind: Schema.Literal("text"), min: small, span }),
  Schema.Struct({ kind: Schema.Literals(["whole", "real"]), min: bound, span, open: Schema.Boolean }),
  Schema.Struct({ kind: Schema.Literals(["truth", "nothing", "code"]) }),
  Schema.Struct({ kind: Schema.Literal("option"), options: Schema.NonEmptyArray(Schema.String) }),
  Schema.Struct({ kind: Schema.Literal("list"), of: inner, min: small, span: small }),
  Schema.Struct({ kind: Schema.Literal("nullable"), of: inner }),
  Schema.Struct({ kind: Schema.Literal("either"), of: Schema.NonEmptyArray(inner) }),
  Schema.Struct({
    kind: Schema.Literal("record"),
    fields: Schema.Record(field, Schema.optionalKey(Schema.Tuple([inner, Schema.Boolean])))
  }),
  Schema.Struct({ kind: Schema.Literal("pair"), of: Schema.Tuple([inner, inner]) })
])

const schemaOf = (shape: Shape): Schema.Codec<unknown> => {
  switch (shape.kind) {
    case "text":
      // isMinLength counts UTF-16 units, which JSON Schema cannot say: it becomes a looser minLength
      return Schema.String.check(Schema.isBetweenCodePoints(shape.min, shape.min + shape.span))
    case "whole":
    case "real": {
      const base = shape.kind === "whole" ? Schema.Int : Schema.Finite
      return shape.open
        ? base.check(Schema.isGreaterThan(shape.min), Schema.isLessThan(shape.min + shape.span))
        : base.check(Schema.isBetween({ minimum: shape.min, maximum: shape.min + shape.span }))
    }
    case "truth":
      return Schema.Boolean
    case "nothing":
      return Schema.Null
    case "code":
      return Schema.String.check(Schema.isPattern(/^[A-Z]{3}$/u))
    case "option":
      return Schema.Literals(shape.options)
    case "list":
      return Schema.Array(schemaOf(shape.of)).check(
        Schema.isMinLength(shape.min),
        Schema.isMaxLength(shape.min + shape.span)
      )
    case "nullable":
      return Schema.NullOr(schemaOf(shape.of))
    case "either":
      return Schema.Union(shape.of.map(schemaOf))
    case "pair":
      return Schema.Tuple([schemaOf(shape.of[0]), schemaOf(shape.of[1])])
    case "record":
      return Schema.Struct(
        Object.fromEntries(
          Object.entries(shape.fields).map(([key, [of, required]]) => [
            key,
            required ? schemaOf(of) : Schema.optionalKey(schemaOf(of))
          ])
        )
      )
    default:
      return shape satisfies never
  }
}

describe("An instance", () => {
  it.effect.prop("is accepted by the schema it was made from", [Shape, Schema.String], ([shape, more]) =>
    Effect.sync(() => {
      const schema = schemaOf(shape)
      const document = Schema.toJsonSchemaDocument(schema)
      const value = make({ ...document.schema, $defs: document.definitions }, `${text} ${more}`)
      assert.isTrue(Schema.is(schema)(value), `${JSON.stringify(value)} is no ${JSON.stringify(document.schema)}`)
    })
  )

  it("takes what stands beside a field's name first, then what is left, once each", () => {
    const properties = {
      weight: { type: "number" },
      price: { type: "number" },
      gears: { type: "integer" },
      owner: { type: "string" },
      city: { type: "string" },
      colour: { type: "string" }
    }
    const required = Object.keys(properties)
    assert.deepStrictEqual(make({ type: "object", properties, required }), {
      weight: 12.5,
      price: 13,
      gears: 21,
      owner: "blue",
      city: "Ada Lovelace",
      colour: "Berlin"
    })
  })

  it("has a property of any name as its own", () => {
    const schema = JSON.parse('{"properties":{"__proto__":{"const":1},"constructor":{"const":2}}}') as object // an object
    const value = make({ ...schema, required: ["__proto__", "constructor"] })
    assert.strictEqual(JSON.stringify(value), '{"__proto__":1,"constructor":2}')
  })

  it("leaves out an optional field, and gives null for a nullable one, where the text does not speak of it", () => {
    const number = { type: "integer" }
    const properties = { gears: number, seats: number, doors: { anyOf: [number, { type: "null" }] } }
    assert.deepStrictEqual(make({ type: "object", properties, required: ["doors"] }), { gears: 21, doors: null })
  })

  it("says whether a word stands in the text", () => {
    const properties = { bicycle: { type: "boolean" }, electric: { type: "boolean" } }
    const value = make({ type: "object", properties, required: ["bicycle", "electric"] })
    assert.deepStrictEqual(value, { bicycle: true, electric: false })
  })

  it.each<readonly [string, object, unknown]>([
    ["a constant", { const: { a: 1 } }, { a: 1 }],
    ["the option that the text has, as a word", { enum: ["in", "Berlin", "bicyc"] }, "in"],
    ["the first option where the text has none", { enum: [null, "red", "green"] }, "red"],
    ["one of several constants", { anyOf: [{ const: "red" }, { const: "blue" }] }, "blue"],
    ["a reference", { $ref: "#/$defs/a~1b", $defs: { "a/b": { const: 7 } } }, 7],
    ["what allOf demands together", { allOf: [{ type: "integer", minimum: 10 }, { maximum: 20 }] }, 13],
    ["a multiple", { type: "integer", multipleOf: 50, minimum: 60 }, 100],
    ["a date", { type: "string", format: "date" }, "2024-01-01"],
    ["one of several types", { type: ["null", "integer"] }, 9],
    [
      "a list without repetition",
      { type: "array", items: { enum: ["a", "b"] }, minItems: 2, uniqueItems: true },
      ["a", "b"]
    ],
    ["a record", { type: "object", required: ["a"], additionalProperties: { type: "integer" } }, { a: 9 }],
    [
      "as many properties as it must have",
      { type: "object", minProperties: 2 },
      { key1: "blue", key2: "Ada Lovelace" }
    ],
    ["nothing at all", { type: "null" }, null],
    ["a schema that says nothing", {}, "blue"]
  ])("can be %s", (_, schema, expected) => {
    assert.deepEqual(make(schema), expected)
  })

  it("takes a date, an address and a code out of the text", () => {
    const from = "Write to bob@example.org before 2025-06-30 about KX-4711."
    assert.strictEqual(make({ type: "string", format: "date" }, from), "2025-06-30")
    assert.strictEqual(make({ type: "string", format: "email" }, from), "bob@example.org")
    assert.strictEqual(make({ type: "string", pattern: "^[A-Z]{2}-\\d+$" }, from), "KX-4711")
  })

  it("of a recursive schema is closed as soon as it may be", () => {
    interface Tree {
      readonly name: string
      readonly children: ReadonlyArray<Tree>
      readonly parent: Tree | null
    }
    const Tree = Schema.Struct({
      name: Schema.String,
      children: Schema.Array(Schema.suspend((): Schema.Codec<Tree> => Tree)),
      parent: Schema.NullOr(Schema.suspend((): Schema.Codec<Tree> => Tree))
    }).annotate({ identifier: "Tree" })
    const document = Schema.toJsonSchemaDocument(Tree)
    const value = make({ ...document.schema, $defs: document.definitions })
    assert.isTrue(Schema.is(Tree)(value))
    assert.isBelow(JSON.stringify(value).length, 2_000)
  })

  it("of a schema without end, or with a monstrous one, is bounded", () => {
    const endless = { type: "object", properties: { next: { $ref: "#" } }, required: ["next"] }
    assert.isBelow(JSON.stringify(make(endless)).length, 10_000)
    const loop = { $ref: "#/$defs/a", $defs: { a: { $ref: "#/$defs/b" }, b: { $ref: "#/$defs/a" } } }
    assert.isNull(make(loop))
    const both = { allOf: [{ $ref: "#/$defs/a" }, { $ref: "#/$defs/a" }] }
    assert.strictEqual(make({ ...both, $defs: { a: both } }), "blue")
    const twice = (of: object) => ({ type: "object", properties: { l: of, r: of }, required: ["l", "r"] })
    const $defs = Object.fromEntries(
      Array.from({ length: 40 }, (_, i) => [`d${i}`, twice({ $ref: `#/$defs/d${i + 1}` })])
    )
    assert.isBelow(JSON.stringify(make({ $ref: "#/$defs/d0", $defs })).length, 1_000_000)
    assert.isBelow(JSON.stringify(make({ type: "array", items: {}, minItems: 1e9 })).length, 1_000_000)
    assert.isBelow(JSON.stringify(make({ type: "string", minLength: 1e12 })).length, 1_000_000)
  })
})
