/**
 * On whose behalf a call is made: budgets, cache isolation and fair queues read it, metrics never do.
 *
 * Set it from the authenticated principal only, never from a request's body or headers. A stream that is built inside
 * `provide` and run outside does not see it: use `provideStream`.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"

/** Who calls, as far as the program says. */
export interface Identity {
  /** The customer or organisation. Caches keep tenants apart, and no tenant is a partition of its own. */
  readonly tenant?: string | undefined
  /** One of the tenant: users of one name at two tenants are two. */
  readonly user?: string | undefined
  /** The part of the program that asks, for reports and learned estimates. */
  readonly feature?: string | undefined
  /** One run of an agent or job: the scope of per-run limits. */
  readonly run?: string | undefined
  /** Who goes first in a queue. Default `"normal"`. */
  readonly priority?: "high" | "normal" | "low" | undefined
}

/** The caller of the running fiber; nobody by default. */
export const Caller: Context.Reference<Identity> = Context.Reference<Identity>("ballast/Caller", {
  defaultValue: () => nobody
})

const nobody: Identity = {}

/** Scopes an identity over an effect; fields that are not given keep what an outer scope set. */
export const provide: {
  (identity: Identity): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, identity: Identity): Effect.Effect<A, E, R>
} = dual(2, <A, E, R>(self: Effect.Effect<A, E, R>, identity: Identity): Effect.Effect<A, E, R> =>
  Effect.updateService(self, Caller, (outer) => ({ ...outer, ...identity }))
)

/** Scopes an identity over a stream, wherever it runs. */
export const provideStream: {
  (identity: Identity): <A, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A, E, R>
  <A, E, R>(self: Stream.Stream<A, E, R>, identity: Identity): Stream.Stream<A, E, R>
} = dual(2, <A, E, R>(self: Stream.Stream<A, E, R>, identity: Identity): Stream.Stream<A, E, R> =>
  Stream.updateService(self, Caller, (outer) => ({ ...outer, ...identity }))
)

/** A call was made where a tenant must be set and none was. */
export class TenantMissing extends Schema.TaggedError<TenantMissing>()("TenantMissing", {}) {
  override get message(): string {
    return "Caller.tenant must be set here: wrap the program in Caller.provide({ tenant })"
  }
}

/** The caller, who must have a tenant. */
export const required: Effect.Effect<Identity & { readonly tenant: string }, TenantMissing> = Effect.flatMap(
  Caller,
  (caller) =>
    caller.tenant === undefined
      ? Effect.fail(new TenantMissing())
      : Effect.succeed({ ...caller, tenant: caller.tenant })
)
