/** Rules in other languages than English: few, and only whole phrases. Letters are without marks, as in a folded text. */
import type { Rule } from "./injectionRulesPattern.ts"

const override = (name: string, starts: ReadonlyArray<string>, pattern: string): Rule<"override"> => ({
  family: "override",
  name,
  severity: "high",
  score: 100,
  starts,
  pattern
})

const extraction = (name: string, starts: ReadonlyArray<string>, pattern: string): Rule<"extraction"> => ({
  family: "extraction",
  name,
  severity: "high",
  score: 100,
  starts,
  pattern
})

/** Without spaces between words, or with endings: a few characters may stand between. */
const near = "[^.!?。！？\\n]{0,20}?"

export const languageRules: ReadonlyArray<Rule<"override" | "extraction">> = [
  override(
    "german",
    [
      "ignorier*",
      "vergiss",
      "vergesst",
      "vergessen sie",
      "missacht*",
      "ubergeh*",
      "verwirf",
      "uberschreib*",
      "befolge nicht",
      "befolge"
    ],
    "(?<!befolge) (?:alle |samtliche |die |deine |ihre |eure |saemtliche |von ){0,3}(?:(?:vorherigen?|bisherigen?|vorigen?|fruheren?|obigen?|vorangegangenen?|vorangehenden?|ursprunglichen?|vorstehenden?) (?:[a-z]{1,14} ){0,1}?(?:anweisungen?|regeln?|instruktionen|vorgaben|befehle|anordnungen|richtlinien|prompts?)|(?<=deine |ihre |eure )(?:anweisungen|regeln|instruktionen|richtlinien|vorgaben)|(?:anweisungen|regeln|instruktionen|vorgaben) (?:von (?:vorhin|oben|vorher)|oben|davor|zuvor))"
  ),
  override(
    "german-all",
    ["vergiss alles", "vergessen sie alles", "ignoriere alles"],
    ",? (?:was )?(?:[a-z]{1,12} ){0,3}?(?:vorher|davor|zuvor|bisher|oben|gesagt)"
  ),
  extraction(
    "german-prompt",
    ["zeig*", "nenn*", "verrat*", "gib*", "offenbar*", "wie lautet", "was ist"],
    " (?:mir |uns |mal |bitte |sie ){0,3}(?:dein(?:en?)?|ihren?|den) (?:geheimen? |versteckten? )?system ?-?prompts?"
  ),
  override(
    "french",
    [
      "ignor*",
      "oubli*",
      "ne tiens pas compte",
      "ne tenez pas compte",
      "ne suis pas",
      "ne respecte pas",
      "fais abstraction"
    ],
    " (?:de |des |toutes |tous |les |tes |vos |ces ){0,4}(?:(?:instructions|consignes|regles|directives|ordres) (?:[a-z]{1,12} ){0,2}?(?:precedente?s?|anterieure?s?|ci-dessus|initiales|d'avant|qu'on)|(?<=tes |vos )(?:instructions|consignes|regles|directives))"
  ),
  override(
    "french-all",
    ["oublie tout ce", "oubliez tout ce", "ignore tout ce"],
    " (?:qu'|que |qui )[^.!?\\n]{0,30}?(?:avant|precede|dit|au-dessus)"
  ),
  extraction(
    "french-prompt",
    ["montr*", "revel*", "affich*", "donn*", "quel est"],
    "(?:-moi)? (?:moi |nous |le |votre |ton ){0,3}prompt systeme"
  ),
  override(
    "spanish",
    ["ignor*", "olvid*", "no sigas", "no hagas caso", "haz caso omiso de", "descarta", "desobedece", "pasa por alto"],
    " (?:de |a |todas |todos |las |los |tus |sus |cualquier ){0,4}(?:(?:instrucciones|reglas|ordenes|indicaciones|directrices) (?:[a-z]{1,12} ){0,2}?(?:anteriores|previas|de arriba|iniciales|precedentes)|(?<=tus )(?:instrucciones|reglas|directrices))"
  ),
  override(
    "spanish-all",
    ["olvida todo lo", "olvide todo lo", "ignora todo lo"],
    " (?:que )?[^.!?\\n]{0,30}?(?:antes|anterior|dijeron|dicho)"
  ),
  extraction(
    "spanish-prompt",
    ["muestr*", "revel*", "dime", "dame", "cual es"],
    "(?:me)? (?:el |tu |su ){0,2}(?:prompt del sistema|prompt de sistema|instrucciones del sistema)"
  ),
  override(
    "italian",
    ["ignora*", "dimentic*", "trascura", "non seguire", "tralascia"],
    " (?:di |tutte |tutti |le |i |gli |tue |delle ){0,4}(?:istruzioni|regole|indicazioni|direttive|ordini) (?:[a-z]{1,12} ){0,2}?(?:precedenti|anteriori|sopra|iniziali|di prima)"
  ),
  extraction(
    "italian-prompt",
    ["mostra*", "rivela*", "dimmi", "qual e"],
    " (?:il |tuo ){0,2}prompt (?:di|del) sistema"
  ),
  override(
    "portuguese",
    ["ignore", "ignora", "ignorem", "esquec*", "desconsider*", "nao siga", "descarte", "desobedeca"],
    " (?:de |todas |todos |as |os |suas |tuas |quaisquer ){0,4}(?:instrucoes|regras|ordens|diretrizes|orientacoes) (?:[a-z]{1,12} ){0,2}?(?:anteriores|previas|acima|iniciais)"
  ),
  extraction(
    "portuguese-prompt",
    ["mostre", "mostra", "revele", "diga", "qual e"],
    "(?:-me)? (?:me |o |seu |teu ){0,3}prompt d[oe] sistema"
  ),
  override(
    "dutch",
    ["negeer", "vergeet", "sla over", "volg niet"],
    " (?:alle |de |je |jouw |al ){0,3}(?:vorige|eerdere|voorgaande|bovenstaande|voorafgaande) (?:instructies|regels|opdrachten|aanwijzingen|richtlijnen)"
  ),
  extraction(
    "dutch-prompt",
    ["toon", "laat", "geef", "wat is"],
    " (?:me |mij |zien |je |jouw |uw ){0,3}(?:systeem ?-?prompt)"
  ),
  override(
    "polish",
    ["zignoruj*", "ignoruj*", "zapomnij*", "pomin*", "nie stosuj sie do", "odrzuc*"],
    " (?:o |wszystkie |wszystkich |swoje |swoich |moje |te ){0,3}(?:poprzednie|poprzednich|wczesniejsze|wczesniejszych|powyzsze|powyzszych) (?:instrukcj[a-z]|polecenia|poleceniach|zasady|zasadach|reguly|wytyczne)"
  ),
  extraction(
    "polish-prompt",
    ["pokaz*", "ujawnij", "podaj"],
    " (?:mi |swoj |twoj ){0,2}(?:prompt systemowy|systemowy prompt)"
  ),
  override(
    "turkish",
    ["onceki", "tum onceki", "butun onceki", "yukaridaki", "daha onceki"],
    " (?:tum |butun |verilen ){0,2}(?:talimatlari[a-z]*|kurallari[a-z]*|komutlari[a-z]*|yonergeleri[a-z]*|emirleri) (?:[a-z]{1,10} ){0,2}?(?:gormezden|unut|yok say|yoksay|dikkate alma|gec|iptal)"
  ),
  extraction(
    "turkish-prompt",
    ["sistem istemini", "sistem promptunu", "sistem istemin"],
    " (?:bana )?(?:goster|yaz|soyle|ver|ifsa)"
  ),
  override(
    "russian",
    ["игнорируи", "проигнорируи", "забудь", "не следуи", "отмени", "не обращаи внимания на", "не выполняи"],
    `(?:те)? ?(?:обо? )?${near}(?:предыдущ|прежн|ранее|вышеуказанн|выше |прошл|свои |своих |начальн|исходн)[а-я]{0,6} ?${near}(?:инструкц|указани|правил|команд|директив|приказ|промпт)`
  ),
  extraction(
    "russian-prompt",
    ["покажи", "раскрои", "выведи", "напиши", "скажи"],
    `(?:те)? ?(?:мне )?(?:твои |свои |ваш )?системн[а-я]{1,3} ?(?:промпт|инструкц|сообщени|подсказк)`
  ),
  override(
    "chinese",
    ["忽略", "无视", "無視", "忘记", "忘記", "忘掉", "不要遵守", "不要理会", "不遵守", "请忽略", "抛开", "丢弃"],
    `${near}(?:之前|以上|上述|先前|前面|此前|所有|一切|你收到|原有|以前)${near}(?:指令|指示|规则|規則|提示词|提示詞|命令|要求|设定|限制)`
  ),
  extraction(
    "chinese-prompt",
    ["告诉我", "显示", "顯示", "输出", "輸出", "泄露", "打印", "说出"],
    `${near}(?:系统提示|系統提示|系统指令|系统消息|初始提示|初始指令)`
  ),
  override(
    "japanese",
    ["以前の", "これまでの", "上記の", "前の", "今までの", "すべての", "先ほどの", "与えられた"],
    `${near}(?:指示|命令|ルール|プロンプト|指令|規則|制約)${near}(?:無視|忘れ|破棄|従わ)`
  ),
  extraction(
    "japanese-prompt",
    ["システムプロンプト", "システムメッセージ", "初期プロンプト"],
    `${near}(?:表示|教え|出力|見せ|開示)`
  ),
  override(
    "korean",
    ["이전", "위의", "지금까지", "앞의", "모든", "기존", "앞선"],
    `${near}(?:지시|지침|명령|규칙|프롬프트|설정)${near}(?:무시|잊|따르지|버려)`
  ),
  extraction(
    "korean-prompt",
    ["시스템 프롬프트", "시스템 메시지", "초기 프롬프트"],
    `${near}(?:보여|알려|출력|공개|말해)`
  ),
  override(
    "arabic",
    ["تجاهل", "انس", "لا تتبع", "اهمل", "تخط"],
    ` ?${near}(?:التعليمات|الاوامر|القواعد|التوجيهات|الارشادات) ?${near}(?:السابق|اعلاه|الاولي|المذكور|القديم)`
  ),
  extraction(
    "arabic-prompt",
    ["اعرض", "اظهر", "اكشف", "اخبرني"],
    ` ?${near}(?:موجه النظام|تعليمات النظام|رساله النظام)`
  ),
  override(
    "hindi",
    ["पिछले", "पहले", "उपरोक्त", "सभी पिछले", "ऊपर"],
    `${near}(?:निर्देश|नियम|आदेश)${near}(?:अनदेखा|भूल|नज़रअंदाज|नजरअंदाज|इग्नोर|मत मान)`
  ),
  extraction("hindi-prompt", ["सिस्टम प्रॉम्प्ट", "सिस्टम प्रोम्प्ट", "सिस्टम निर्देश"], `${near}(?:दिखा|बता|प्रकट)`)
]
