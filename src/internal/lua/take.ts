/** Takes every entry or none, for good; of what is held at the same time nothing, it is only asked for room. */
import { accounts } from "./accounts.ts"
import { admission, answers } from "./admission.ts"
import { eachBucket } from "./bucket.ts"
import { clock } from "./clock.ts"

export const take = `${accounts()}
${answers}
${admission}
for _, entry in ipairs(entries) do
  local a = entry.account
  if a.kind ~= "C" then take(a, entry.amount) end
end
for _, a in pairs(opened) do
  if a.kind ~= "C" then save(a) end
end
return answer(-1)
`

/** The same for many who each take of one bucket, without what only several entries need. */
export const takeEach = `${clock}
${eachBucket}
`
