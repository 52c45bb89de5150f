/** Who shares answers with whom. */
import type * as Caller from "../Caller.ts"
import type { Service as Provider } from "../LlmProvider.ts"
import type { Scope } from "./requestKey.ts"

export type Isolation = "tenant" | "user" | "shared"

/** What a key is made of beside the request. Where guards judge by who asks, nobody shares with another user. */
export const scopeOf = (
  form: string,
  isolation: Isolation,
  { endpoint, guards }: Provider,
  { tenant, user }: Caller.Identity
): Scope => {
  const kind = guards?.scope === "caller" ? "user" : isolation
  const parts = kind === "tenant" ? [tenant] : kind === "user" ? [tenant, user] : []
  const fingerprint = guards === undefined ? form : `${form}:${guards.fingerprint}`
  return { endpoint, isolation: [kind, ...parts], fingerprint }
}

/** Whose answers are cleared together; no tenant is called as all of them are. */
export const partitionOf = (isolation: Isolation, tenant: string | undefined): string | undefined =>
  isolation === "shared" ? "shared" : tenant === undefined ? undefined : `tenant:${tenant}`
