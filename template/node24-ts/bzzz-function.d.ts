/** The handler of the function that is built; `build.ts` says which file that is. */
declare module 'bzzz-function' {
  const handler: import('../../shared/function/function.ts').FunctionPlugin
  export default handler
}
