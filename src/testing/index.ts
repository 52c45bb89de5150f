/** What a program that uses Ballast needs to test itself. */
export * as TestProvider from "./TestProvider.ts"
