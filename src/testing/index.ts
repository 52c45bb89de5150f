/** What a program that uses Ballast needs to test itself. */
export * as CacheStoreContract from "./CacheStoreContract.ts"
export * as QuotaStoreContract from "./QuotaStoreContract.ts"
export * as TestProvider from "./TestProvider.ts"
export * as VectorIndexContract from "./VectorIndexContract.ts"
