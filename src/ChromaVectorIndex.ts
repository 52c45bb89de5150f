/**
 * A `VectorIndex` in Chroma, over its REST API v2 and Effect's `HttpClient`: for many processes, and for more vectors than a
 * search can read. Chroma searches a graph, which may miss what is near. What is indexed survives a restart of Chroma.
 *
 * Each partition is a collection, named by a digest; give the index a database of its own where there are many. An `add` and a
 * search are one request each, and one more where this process does not know the collection. Now and then an `add` tidies up
 * behind itself: what has expired goes, what is more than `maxEntries`, and collections that are empty. To clear a tenant takes
 * one request for each partition of any tenant, and what is added meanwhile may stay.
 *
 * An item that cannot be read is none, deleted and counted (`ballast_cache_corrupt_total`). How many there are is not known
 * (`size`). A Chroma that asks for a token: `HttpClient.mapRequest` on the client, with the header.
 */
import type * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { HttpClient } from "effect/http/HttpClient"
import { Chroma } from "./internal/chroma.ts"
import { ChromaIndex } from "./internal/chromaVectorIndex.ts"
import { type Configurable, configured } from "./internal/configurable.ts"
import { checkUrl, urlOf } from "./internal/http.ts"
import { finiteMillis, integer } from "./internal/options.ts"
import { type Service, VectorIndex } from "./VectorIndex.ts"

/** Where Chroma is, and how much it holds. */
export interface Options {
  /** Without `/api/v2`, query and credentials. From your configuration, never from a request. */
  readonly url: string
  /** Allows plain HTTP to a host that is not loopback. Default `false`. */
  readonly allowInsecure?: boolean | undefined
  /** Chroma's tenant, which must be there: 3 to 512 letters, digits, `.`, `_`, `-`. Default `"default_tenant"`. */
  readonly tenant?: string | undefined
  /** Chroma's database, which must be there, named alike. Default `"default_database"`. */
  readonly database?: string | undefined
  /** What the names of all collections begin with: letters, digits, `-` and `_`, at most 40. Default `"ballast"`. */
  readonly collection?: string | undefined
  /** How long an operation may take; to clear has 30 seconds. Default 1 second. */
  readonly commandTimeout?: Duration.Input | undefined
  /** Most items of a partition, those that expire last; each process may add a sixteenth before it looks. Default `10_000`. */
  readonly maxEntries?: number | undefined
}

/** Needs no Chroma that answers. Bad options throw a `RangeError`. */
export const make = (options: Options): Effect.Effect<Service, never, HttpClient> => {
  const { collection = "ballast", commandTimeout = 1000, maxEntries = 10_000 } = options
  const { database = "default_database", tenant = "default_tenant" } = options
  const url = checkUrl("ChromaVectorIndex.make: url", options.url, options.allowInsecure)
  if (url.username !== "" || url.password !== "")
    throw new RangeError("ChromaVectorIndex.make: url must not hold credentials, set a header on the HttpClient")
  if (!/^[a-zA-Z0-9][\w-]{0,39}$/.test(collection))
    throw new RangeError(`ChromaVectorIndex.make: collection must match [a-zA-Z0-9][\\w-]{0,39}, got ${collection}`)
  const settings = {
    prefix: `${collection}.`,
    millis: finiteMillis("ChromaVectorIndex.make: commandTimeout", commandTimeout),
    maxEntries: integer("ChromaVectorIndex.make: maxEntries", maxEntries, 1)
  }
  const path = `/api/v2/tenants/${segment("tenant", tenant)}/databases/${segment("database", database)}/collections`
  return Effect.map(HttpClient, (client) => new ChromaIndex(new Chroma(client, urlOf(url, path)), settings))
}

/** `make` as a layer: needs no Chroma that answers to be built. Bad options throw when it is made. */
export const layer = (options: Options): Layer.Layer<VectorIndex, never, HttpClient> =>
  Layer.effect(VectorIndex, make(options))

/** The same options, any of them as a `Config`; options that can never work are a `ConfigError`. */
export const layerConfig = (options: Configurable<Options>): Layer.Layer<VectorIndex, Config.ConfigError, HttpClient> =>
  Layer.effect(VectorIndex, configured(options, make))

/** Of a path: one that names a place of its own. */
const segment = (field: string, name: string): string => {
  if (/^[\w.-]{3,512}$/.test(name) && !/^\.+$/.test(name)) return name
  throw new RangeError(`ChromaVectorIndex.make: ${field} must match [\\w.-]{3,512}, got ${name}`)
}
