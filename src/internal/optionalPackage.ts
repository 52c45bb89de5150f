/** Packages that only some programs need, imported when they are used. */

/**
 * For the rejection of an `import()`: says what to install. It stands right behind the `import()`, since bundlers take a package
 * that is not there for an error unless its absence is seen to.
 */
export const needed =
  (by: string, install: string) =>
  (cause: unknown): never => {
    throw new Error(`${by} needs the package ${install}: npm install ${install}`, { cause })
  }
