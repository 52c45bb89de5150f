/** The words that the gate of the semantic cache knows: which of them change an answer, and which say nothing. */

/** Without differences of case; `ß` is `ss`. */
export const folded = (text: string): string => text.toUpperCase().toLowerCase()

/** Every word to the first of its group; groups end at a semicolon. */
const groups = (text: string): ReadonlyMap<string, string> =>
  new Map(
    text.split(";").flatMap((group) => {
      const words = folded(group).trim().split(/\s+/)
      return words.map((word): [string, string] => [word, words[0] ?? word])
    })
  )

const set = (text: string): ReadonlySet<string> => new Set(folded(text).trim().split(/\s+/))

export const negations = groups(`
  not cannot cant dont doesnt didnt isnt arent wasnt werent wont shouldnt couldnt wouldnt havent hasnt nicht pas لا ليس لم لن;
  no none neither nor kein keine keinen keinem keiner keines aucun aucune ninguno ninguna; nobody niemand; nothing nichts rien nada;
  never nie niemals jamais nunca jamás; without ohne sans sin بدون;
  unless; avoid; exclude; instead; except excluding außer ausser sauf excepto`)

export const numbers = groups(`
  0 zero; 1 one eins; 2 two zwei zwo; 3 three drei; 4 four vier; 5 five fünf; 6 six sechs; 7 seven sieben;
  8 eight acht; 9 nine neun; 10 ten zehn; 11 eleven elf; 12 twelve zwölf; 20 twenty zwanzig`)

/** As they follow a number of digits. */
export const ordinals =
  groups(`1st first erste ersten erster erstes premier première primero primera أول; 2nd zweite zweiten zweiter;
  3rd third dritte dritten dritter; 4th fourth; 5th fifth; 6th sixth; 7th seventh; 8th eighth; 9th ninth; 10th tenth`)

/** What a number word adds to the number before it. */
export const zeros = groups(`00 hundred hundert; 000 thousand tausend; 000000 million millionen millions millones;
  000000000 billion milliarde milliarden milliards`)

export const operators = groups("+ plus; - minus; * times x × mal fois por; / divided ÷ geteilt; ^ power")

export const units = groups(`
  km kilometer kilometers kilometre kilometres kilomètres kilómetros; mile miles mi meile meilen; meter meters metre metres metros;
  cm centimeter centimeters centimetre centimetres; mm millimeter millimeters; foot feet ft; inch inches zoll; yard yards;
  kg kilo kilos kilogram kilograms kilogramm; gram grams gramm grammes; mg milligram milligrams; ton tons tonne tonnes;
  pound pounds lb lbs pfund; ounce ounces oz; liter liters litre litres litros; ml milliliter milliliters; gallon gallons;
  cup cups; tablespoon tablespoons tbsp; teaspoon teaspoons tsp; celsius °c; fahrenheit °f; kelvin; degree degrees ° grad;
  % percent prozent pourcent; euro euros eur €; dollar dollars usd $; sterling gbp £; yen jpy; yuan cny; ¥; rupee rupees inr ₹;
  franc francs franken chf; bitcoin btc; kb kilobyte kilobytes; mb megabyte megabytes; gb gigabyte gigabytes; tb terabyte terabytes;
  byte bytes; bit bits; ms millisecond milliseconds; sec secs seconds sekunde sekunden; minute minutes min mins minuten;
  hour hours hr hrs stunde stunden heure heures hora horas; day days tag tage tagen jour jours día días;
  week weeks woche wochen semaine semaines semana semanas; month months monat monate mois mes meses; quarter quarters;
  year years jahr jahre jahren ans année años año; decade decades; century centuries; watt watts; kw; mw; volt volts; hz; khz; mhz; ghz;
  mph; kph; kcal; calorie calories cal`)

/** Units only right behind a number. */
export const shortUnits = groups(
  "meter m; gram g; hour h; sec s second; liter l; k; celsius c; fahrenheit f; day d; v; w"
)

export const relativeDates = groups(`
  today heute hoy اليوم; yesterday gestern ayer أمس; tomorrow demain mañana غدا; tonight; now nowadays jetzt maintenant ahora;
  current currently aktuell aktuelle aktuellen actuel actuelle actual; latest newest recent recently neueste neuesten dernier última último;
  next nächste nächsten nächster prochain prochaine próximo próxima; previous past prior vorige vorigen; ago; upcoming;
  monday mondays montag lundi lunes; tuesday tuesdays dienstag mardi martes; wednesday wednesdays mittwoch mercredi miércoles;
  thursday thursdays donnerstag jeudi jueves; friday fridays freitag vendredi viernes; saturday saturdays samstag samedi sábado;
  sunday sundays sonntag dimanche domingo; weekend weekends wochenende; daily; weekly; monthly; yearly annual annually;
  morning morgens matin; noon; evening abend abends soir; night nacht nuit noche; midnight mitternacht; morgen;
  spring; summer sommer été verano; autumn herbst automne otoño; winter hiver invierno; christmas weihnachten; easter`)

export const months = groups(`
  1 january jan januar jänner janvier enero; 2 february feb februar février fevrier febrero; 3 march mar märz mars marzo;
  4 april apr avril abril; 5 may mai mayo; 6 june jun juni juin junio; 7 july jul juli juillet julio;
  8 august aug août aout agosto; 9 september sep sept septembre septiembre; 10 october oct oktober okt octobre octubre;
  11 november nov novembre noviembre; 12 december dec dezember dez décembre decembre diciembre`)

/** Quantities, comparisons and opposites: a group is never the same as another. */
export const comparisons = groups(`
  before vor avant antes قبل; after nach après después despues بعد; until till; since seit depuis desde; during while während;
  more mehr plus más أكثر; greater larger bigger größer mayor; higher höher; less fewer weniger moins menos أقل; lower; smaller kleiner menor;
  above exceed exceeds exceeding over über; below under beneath unter;
  most; highest höchste höchsten; largest biggest größte größten; maximum max; top; tallest; least; lowest; smallest kleinste kleinsten; minimum;
  best beste besten meilleur meilleure mejor أفضل; worst schlechteste pire peor أسوأ; better besser; worse schlechter;
  all every each entire whole everything everyone alle alles jeder jede jedes tout tous toute toutes todo todos todas كل; some einige; several; few;
  any; only nur seulement solamente فقط; both beide; half; double twice; triple; once; average; total sum;
  last final finally letzte letzten letzter letztes أخر آخر;
  increase increases increasing increased erhöhen steigern augmenter aumentar; raise; rise rising; grow growing growth;
  decrease decreases decreasing decreased reduce reduces reducing reduced senken verringern réduire reducir disminuir; drop dropping; shrink;
  enable enabling activate activating aktivieren einschalten activer activar; disable disabling deactivate deactivating deaktivieren
  ausschalten désactiver desactivar; off; open opening opened öffnen ouvrir abrir; close closing closed shut schließen fermer cerrar;
  add adding insert append; remove removing delete deleting erase löschen entfernen supprimer eliminar; start begin starting beginning began;
  stop stopping quit; end ending; finish; install installing installieren; uninstall uninstalling deinstallieren; up; down;
  upload uploading; download downloading; import importing; export exporting; encode encoding; decode decoding; encrypt encrypting encryption;
  decrypt decrypting decryption; buy buying bought purchase purchasing kaufen acheter comprar; sell selling sold verkaufen vendre vender; rent;
  lend; borrow; push; pull; send sending; receive receiving; win winning; lose losing lost; gain gaining; allow permit allowed; forbid forbidden
  prohibit ban banned block; pros advantage advantages benefit benefits vorteil vorteile avantages ventajas; con cons disadvantage
  disadvantages drawback drawbacks downside downsides nachteil nachteile inconvénients desventajas; good; bad; hot; cold; left; right; high; low;
  long; short; old; new; young; fast faster quick quickly quicker rapid speed; slow slowly slower; cheap cheapest cheaper; expensive; easy easiest;
  hard difficult; safe safely; dangerous unsafe; true; false; legal legally; illegal illegally; possible; impossible; male man men;
  female woman women; child children kid kids; adult adults; inside; outside; north; south; east; west; same; always; often; sometimes; rarely seldom;
  healthy; unhealthy; public; private; ascending; descending; cause causes caused; effect effects; rich; poor; light; dark;
  similarity similarities similar; difference differences differ different distinguish unterschied unterschiede différence diferencia`)

/** Classes of questions, and the tense where it changes the answer. */
export const questions = groups(`
  who whom whose wer wem wen qui quién quien quiénes من; when wann quand cuándo متى; where wo wohin woher où dónde donde adónde أين;
  why warum weshalb wieso pourquoi porqué لماذا; many much wieviel wieviele combien cuánto cuánta cuántos cuántas كم;
  past was were did had waren wurde était étaient fue; future will shall wird werden sera será;
  should ought sollte; must muss dois doit debo debe; soll; may might darf`)

/** "What" and "one" in German, something else in English. */
export const germanOnly = set("was man")

/** What the answer looks like. */
export const forms = groups(`
  brief briefly concise shortly kurz; detailed detail details thorough ausführlich; table; json; xml; csv; yaml; markdown; html; bullet bullets;
  example examples beispiel beispiele ejemplo ejemplos exemple exemples; summary summarize summarise summarized zusammenfassung résumé resumen;
  list enumerate; poem; joke; story; essay; email; code; diagram; simple simply einfach; beginner beginners; expert experts advanced;
  translate translation übersetze traduire traduce; english englisch anglais inglés; german deutsch allemand alemán; french französisch français francés;
  spanish spanisch espagnol español; italian italienisch; chinese chinesisch; japanese japanisch; russian; portuguese; arabic; korean; hindi; dutch; turkish`)

/** One word for another without a change of the question, irregular forms among them. */
export const synonyms = groups(`
  fix repair solve resolve correct; big large huge; make create build made built making; car automobile; movie film; get obtain got;
  problem issue; work operate working; write wrote written writing author;  forget forgot forgotten;
  learn study; cost price costs prices; choose select pick choosing; doctor physician; improve enhance; find locate found; show display;
  photo picture image; change modify alter; password passcode passwort kennwort; phone telephone; cellphone mobile; run execute running;
  use using used utilize; invent invented inventor; paint painted painter; direct directed director; founded founder; speak spoke spoken;
  store storing; company firm; die died death dying; live lived; born birth; cook cooking;
  happen occur happened; trip journey; website site; pain ache;
  reset resetting; weigh weight; population inhabitants`)

/** Where one of these stands, the order of the words matters. */
export const directing = set("from to than into over through by von nach als zu de vers a por hacia إلى من")
export const joining = set("and or vs versus & und oder et ou y o between zwischen entre")

/** By language: the words that show it (before the bar, no word of English among them) and more that say nothing. */
const tongues: Readonly<Record<string, string>> = {
  de: `der das und ist wie ich du ein eine einen einer einem für von zu auf kann bitte mir den dem sind wird werden erkläre erklären warum wer wo
    wann welche welcher welches zwischen mein meine meinen heißt gibt nicht kein keine mit ohne mein wieviel nach vor über zum zur im am beim |
    was die in an so es des erklär sie man kannst können könnten könntest wir sich hat haben habe ihr uns dass wenn sag sage beschreibe bedeutet
    denn mal viel viele bei als eigentlich genau sagen nennen nenne beschreiben helfen hilf hallo danke gerne mich dir er lautet`,
  fr: `le les est que quoi quel quelle quels quelles comment pourquoi où quand une des du dans pour avec je vous moi peux pouvez expliquez explique
    expliquer sont et entre mon ma ça qui combien ne pas sans au aux cette ce sur il elle nous faut |
    la un de en à y a se on me tu te puis peut donne donnez dis dites c l d s qu n j signifie veut dire plaît s'il bonjour merci est-ce t votre`,
  es: `el los las es qué cómo dónde cuándo para con una del cuál cuáles quién mi puedes puede explica explicar explícame explique entre sin por y
    son está hay más menos cuánto cuánta cuántos cuántas yo puedo lo al |
    la un de en a que se me te su o como dime dices di significa quiere decir hola gracias favor le nos ser`,
  it: `il gli che cosa è perché dove chi della delle nel sono spiega quando qual quale puoi una | la un di in a come e con per`,
  pt: ` é são não você pode qual quando onde quem uma do da | o a e de em um que por para com`,
  nl: `het een wat hoe waarom waar wie wanneer niet mijn van voor kun leg uit | de en is in op te`
}

const sides = (text: string, i: number): string => text.split("|")[i] ?? ""

export const languages: ReadonlyArray<{
  readonly name: string
  readonly shows: ReadonlySet<string>
  readonly silent: ReadonlySet<string>
}> = Object.entries(tongues).map(([name, text]) => ({
  name,
  shows: set(sides(text, 0)),
  silent: set(text.replace("|", " "))
}))

/** English words that show the language. */
export const english = set("the is are what how why does do who where when you explain of and which tell can my it did")

/** Words that say nothing about what is asked, English and Arabic. */
export const silent = set(`
  the a an this that these those i me my mine you it its itself we our ours there here
  am is are be been being do does doing done have has having can could would able to of in on at by for with from into onto as about
  and or but if then so than also too very really just quite please kindly what which how
  way ways method methods step steps guide tutorial procedure process approach thing things
  exactly actually basically called named ll ve re m d s t through among between via using during within per versus vs
  eg ie etc usually generally typically normally whether because therefore
  ما ماذا هي هو هل كيف في على إلى من عن مع اشرح لي أن هذا هذه التي الذي يمكن يمكنك و أو شرح معنى`)

/** Words of a request, which say nothing at the beginning and behind what a request begins with. */
export const requests =
  set(`explain describe tell show give provide help define name know understand clarify introduce share
  discuss teach outline elaborate walk say let hello hi hey dear thanks thank wondering curious answer get`)
export const requesting = set("you please kindly hello hi hey me and")

/** A text that begins with one of these, but not with "can you", is answered with yes or no. */
export const asksWhether =
  /^\W*(?:is|are|am|was|were|do|does|did|has|have|had|can|could|will|would|should|must|may)(?:nʼt|ʼt)?(?![\p{L}ʼ]| you\b)/iu

/** Texts without spaces, longest first, and common phrases: what they are, or `undefined` for what says nothing. */
export const phrases: ReadonlyMap<string, string> = new Map(
  `什么时候=when 什麼時候=when 何时=when 哪里=where 哪儿=where 哪裡=where 在哪=where 为什么=why 為什麼=why 为何=why 多少=many 几个=many 是谁=who 谁=who
  いつ=when どこ=where だれ=who 誰=who なぜ=why どうして=why いくら=many いくつ=many ありません=not ません=not ない=not 不是=not 不=not 没有=not 没=not 沒=not 無=not
  无=not 别=not 能不能= 是不是= 可不可以= 什么是= 什么= 什麼= 是什么= 怎么样= 怎么= 怎樣= 如何= 怎麼= 一下= 请问= 请= 請= 解释= 解釋= 说明= 介绍= 介紹= 告诉我= 告诉= 可以=
  能= 吗= 嗎= 呢= 吧= 我= 你= 您= 的= 是= 了= 哪个= 意思= 指= 何ですか= とは何= とは= 何= なん= なに= ですか= でしょうか= です= ますか= ます= ください= 教えて= 説明して=
  説明= して= する= について= は= が= を= に= の= で= と= も= か= って=`
    .split(/\s+/)
    .filter((pair) => pair !== "")
    .map((pair): [string, string] => [pair.split("=")[0] ?? "", pair.split("=")[1] ?? ""])
    .sort(([a], [b]) => b.length - a.length)
)

/** Phrases of several English or German words, and what stands for them. */
export const idioms: ReadonlyMap<string, string> = new Map([
  ["i want to", "please"],
  ["i would like to", "please"],
  ["iʼd like to", "please"],
  ["i need to", "please"],
  ["i need help", "please"],
  ["help me", "please"],
  ["i have a question", "please"],
  ["let me know", "please"],
  ["an explanation of", ""],
  ["explanation of", ""],
  ["definition of", ""],
  ["description of", ""],
  ["an overview of", ""],
  ["information about", ""],
  ["information on", ""],
  ["how is", "manner is"],
  ["how are", "manner are"],
  ["how was", "manner was"],
  ["how were", "manner were"],
  ["are you", "yourself"],
  ["you are", "yourself"],
  ["youʼre", "yourself"],
  ["best way", "way"],
  ["best time", "when best time"],
  ["best ways", "way"],
  ["good way", "way"],
  ["easiest way", "way"],
  ["right way", "way"],
  ["what time", "when"],
  ["what date", "when"],
  ["what year", "when"],
  ["which year", "when"],
  ["in what year", "when"],
  ["in which year", "when"],
  ["what place", "where"],
  ["how come", "why"],
  ["what is the reason", "why"],
  ["whatʼs the reason", "why"],
  ["how long", "many long"],
  ["how old", "many old"],
  ["how often", "many often"],
  ["how far", "many far"],
  ["how tall", "many tall"],
  ["how big", "many big"],
  ["turn on", "enable"],
  ["switch on", "enable"],
  ["turn off", "disable"],
  ["switch off", "disable"],
  ["set up", "setup"],
  ["speed up", "fast"],
  ["get rid of", "remove"],
  ["look up", "find"],
  ["find out", "know"],
  ["stand for", "mean"],
  ["stands for", "mean"],
  ["at all", ""],
  ["first of all", ""],
  ["after all", ""],
  ["make sure", ""],
  ["how much does", "many"],
  ["auto fill", "autofill"],
  ["wie viel", "many"],
  ["wie viele", "many"],
  ["pour cent", "%"],
  ["por qué", "why"],
  ["por favor", ""],
  ["sʼil vous plaît", ""]
])
