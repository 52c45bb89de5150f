/** Types that refuse fields which nobody reads: TypeScript takes them where a type is inferred from what is given. */

type Keys<A> = A extends unknown ? keyof A : never

/** For a field of a slot: of any of the forms it may have. */
type ExactField<A, Shape> = A extends ReadonlyArray<unknown> | ((...args: ReadonlyArray<never>) => unknown)
  ? unknown
  : A extends object
    ? { readonly [K in Exclude<keyof A, Keys<Shape>>]: never }
    : unknown

/** `O & Exact<O, Shape>` has no other fields than `Shape` has, nor have those of its fields that `deep` names. */
export type Exact<O, Shape, Deep extends keyof Shape> = {
  readonly [K in Exclude<keyof O, keyof Shape>]: never
} & { readonly [K in keyof O & Deep]?: ExactField<O[K], NonNullable<Shape[K]>> }
