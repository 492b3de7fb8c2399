"""words: the vocabulary that generated mail is written in, most frequent first."""

FREQUENT = """
the of and to a in is that for it was on you with as i be at by this we are have from or not but your an will can all
our has if they which one been would there their so what my when more no about out up who do time any some other may
than into its only new also like these two now over such then first were made should how after please just could most
them very he she his her well me us where know before use work here get many much back through see way need make both
each week year day even must between because good those people part take being same last own still while know since
down off right every under last again against until might few without during however does yes
""".split()

STEMS = """
account action address agenda agree amount answer apply approve area arrange article attach attend author balance bank
base begin benefit bill board book branch break bridge brief bring budget build button buy calendar call cancel card
carry case catch cause centre chair chance change chapter charge check choice choose city claim class clean clear
client close code coffee collect colour column come comment commit common company compare complete computer concern
condition conference confirm connect consider contact contain content contract control copy correct cost council count
country couple course cover create credit customer cut damage data date deal debate decide deep delay deliver demand
department depend describe design desk detail develop device difference difficult dinner direct discount discuss
display distance district document door doubt draft draw drive drop early earn east edge edit education effect effort
election employ empty enable end energy engine enjoy enter entire error estimate evening event exact examine example
exchange expect expense experience expert explain express extend extra face fact factory fail fair fall family farm
fast father feature fee feel field figure file fill final finance find finish fire fish fit fix flight floor flow
follow food force foreign forest forget form forward found frame free fresh friend front full function fund future
game garden gather general gift give glass goal govern grade grant great green ground group grow guard guess guest
guide half hand handle happen happy hard head health hear heart heat heavy height help high history hold holiday home
hope hospital hotel hour house human idea image impact import improve include income increase indeed index indicate
industry inform inside install instead instruct insure intend interest invite invoice issue item job join journey
judge jump keep key kind kitchen label lack lake land language large late laugh launch law lead learn leave lecture
left legal length lesson letter level library licence life lift light limit line link list listen little live load
local locate lock long look lose lot love low lunch machine mail main maintain major manage manual map march mark
market match material matter mean measure media meet member mention menu message method middle mile mind minute miss
mistake mobile model modern moment money month morning mother motion mountain mouth move music name narrow nation
nature near network never news night noise normal north note notice number object observe occur offer office often
oil old open operate opinion option order organise origin outside owner pack page paint pair panel paper parent park
partner party pass past pay peace pen perform perhaps period permit person phone photo picture piece place plan plant
plate play point police policy pool poor popular port position possible post pound power practice prefer prepare
present press pretty prevent price print private prize problem process produce product profit program progress project
promise proper propose protect provide public pull purchase purpose push put quality quarter question quick quiet
quite race rail rain raise range rate rather reach read ready real reason receive recent recommend record reduce refer
reflect refuse regard region regular relate release remain remember remind remove rent repair repeat replace reply
report represent request require research reserve resource respect respond rest result return review rich ride ring
rise risk river road rock role roll roof room round route row rule run safe sail salary sale sample save scale scene
schedule school science score screen sea search season seat second secret section secure seem select sell send sense
separate serious serve session set settle several shape share sharp sheet shelf shift ship shop short show shut side
sign silver simple single sister site size skill sleep slow small smile snow social soft solution solve son song soon
sort sound source south space speak special speed spend sport spread spring square staff stage stand standard star
start state station stay step stock stone stop store storm story straight strange street strong student study style
subject submit succeed suggest suit summer supply support suppose sure surface surprise survey system table talk task
tax teach team tell term test text thank theatre thing think third ticket title today together tomorrow tonight tool
top total touch tour toward town track trade train transfer travel treat tree trip trouble truck true trust try turn
type understand unit update upper usual valley value vary version view village visit voice vote wait walk wall want
warm wash waste watch water weather wed weekend weight welcome west wheel white whole wide win wind window winter wish
wonder wood word world worry worth write wrong yard yellow young
""".split()

NAMES = """
Anna Boris Clara David Elena Frank Grace Henry Irene Jonas Karin Lucas Maria Nadia Oscar Paula Quentin Rosa Simon
Tessa Ulrich Vera Walter Xenia Yusuf Zoe Ashford Berger Carter Dalton Eriksen Fischer Grant Hughes Ivanov Jensen
Keller Larsen Morris Novak Olsen Parker Quinn Rossi Schmidt Turner Ueda Vogel Weber Young Zimmer London Vienna Oslo
Boston Madrid Prague Dublin Geneva Lisbon Denver
""".split()

SUFFIXES = ["s", "ed", "ing", "er", "ers", "ly", "able", "ment"]
PREFIXES = ["re", "un", "pre", "over"]


def vocabulary():
    """Some 4,000 words and a weight for each: a word's frequency falls with its rank, as in any language (Zipf)."""
    words = FREQUENT + STEMS + NAMES
    words += [stem.rstrip("e") + s if s[0] in "aei" else stem + s for s in SUFFIXES[:3] for stem in STEMS]
    words += [stem + s for i, stem in enumerate(STEMS) for s in [SUFFIXES[3 + i % 5]]]
    words += [p + stem for i, stem in enumerate(STEMS) if i % 3 == 0 for p in [PREFIXES[i % 4]]]
    words = list(dict.fromkeys(words))
    return words, [1.0 / (rank + 2.7) for rank in range(len(words))]
