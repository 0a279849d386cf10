"""The words that the tagger knows: closed classes whole, and the adjectives and verbs that captions are full of.

Every other word is a noun unless its form says otherwise. Written for captions of things, animals and places; it is no
dictionary of English.
"""

from __future__ import annotations


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


DETERMINERS = _set(
    "a an the this that these those its his her their my your our whose some any each every both another no one "
    "two three four five several many few all such it he she they you we i there here which who what"
)
PREPOSITIONS = _set(
    "of in on at by with without from to into onto under over above below beneath behind before between among "
    "amid against near beside around along across through up down off toward towards atop upon inside outside "
    "about for as than like throughout during underneath surrounded followed except"
)
CONJUNCTIONS = _set("and or but nor nor/or yet while whereas & plus")
ADVERBS = _set(
    "very quite rather slightly mostly mainly somewhat fairly almost nearly not too also really extremely "
    "entirely completely partially partly just only even still then so more most less least overall right left "
    "away further ahead instead never always well"
)
COPULAS = _set("is are was were looks look seems seem appears appear remains being be been")
VERBS = _set(
    "has have had having does do did can could may might will would should shows show showing sports sport "
    "sporting wears wear wearing sits sit sitting stands stand standing perched perches perching perch flies "
    "flying fly see sees seen notice note looking facing eats eating go lie lies lying holds holding features "
    "contains covers turns "
    "fades blends ends runs running walks walking swims swimming floating resting rests goes comes makes gets "
    "points droops drooping extends extending stretching covering accented marked surrounding attached compared"
)

COLOURS = _set(
    "red scarlet crimson ruby maroon burgundy orange tangerine amber yellow golden gold lemon green emerald olive "
    "lime blue azure navy teal turquoise cyan aqua indigo violet purple lavender lilac magenta pink rosy rose "
    "black ebony white ivory grey silver slate charcoal brown chestnut tan beige cream buff rufous rust rusty "
    "sandy sand khaki bronze copper auburn blond blonde ochre reddish orangish yellowish greenish bluish purplish "
    "pinkish blackish whitish greyish brownish multicoloured colourful iridescent dark light bright pale vivid "
    "dull deep jet sable verdant russet buffy snowy cinnamon mahogany cobalt apricot peach coral salmon plum mauve "
    "fuchsia mustard saffron sapphire cerulean ultramarine vermilion cherry amethyst aubergine aquamarine alabaster "
    "pewter umber sienna sepia tawny fawn taupe mossy minty inky sooty milky chalky silvery ashen blush wine"
)
SIZES = _set(
    "big large huge small little tiny medium long short tall wide narrow thin thick fat plump slim slender skinny "
    "broad deep shallow heavy stout stubby chubby lengthy massive miniature average stocky medium-sized"
)
SHAPES = _set(
    "round rounded square flat sharp pointed pointy blunt curved straight bent hooked conical forked fanned "
    "tapering tapered triangular oval oblong rectangular circular cylindrical angular curly wavy arched "
    "downturned upturned crested notched webbed fluffy"
)
PATTERNS = _set(
    "plain unmarked spotted speckled dotted striped streaked barred banded mottled patterned checkered scaled "
    "scaly spotty solid smooth rough fuzzy furry feathered feathery shiny glossy metallic wooden leafy grassy "
    "rocky muddy wet dry blurry blurred bare bald soft hard wooly woolly hairy ringed uniform flecked mixed "
    "matching contrasting patchy streaky freckled marbled"
)
OTHERS = _set(
    "young old adult male female open closed clean dirty beautiful pretty cute elegant distinctive distinct "
    "prominent noticeable visible similar different same unique interesting strong tropical exotic wild crisp "
    "fierce beady clear opaque primary secondary outer inner upper lower front full empty new top middle main "
    "natural rippling cloudy sunny quiet calm still dense sparse fresh ornate powerful long-legged typical lone "
    "single hidden odd strange higher taller bigger wider smoother thinner longer shorter larger smaller darker "
    "lighter brighter curvy ruffled whole proportional dumb"
)
ADJECTIVES = COLOURS | SIZES | SHAPES | PATTERNS | OTHERS
# Of a word longer than four letters, or behind a hyphen.
SUFFIXES = ("-like", "ish", "less", "ful", "ed")
NOT_ADJECTIVES = _set("fish finish dish radish jellyfish goldfish starfish hundred birdseed seaweed speed breed steed")
# How much, and not in which way: "very long" is long, "finely dotted" is more than dotted.
DEGREES = _set(
    "slightly mostly mainly fairly nearly really extremely entirely completely partially partly only mildly highly "
    "relatively wholly fully totally heavily largely predominantly primarily"
)
# A part of what follows "of", and no thing of its own.
RELATIONAL = _set("top tip tips side sides back front rear end ends edge edges base bottom middle rest part parts")

# The spelling that stays.
SPELLINGS = {
    "gray": "grey", "grayish": "greyish", "multicolored": "multicoloured",
    "pointy": "pointed", "lite": "light",
}  # fmt: skip

IRREGULAR = {
    "feet": "foot", "teeth": "tooth", "geese": "goose", "mice": "mouse", "men": "man", "women": "woman",
    "children": "child", "people": "person", "leaves": "leaf", "wolves": "wolf", "knives": "knife", "lives": "life",
    "halves": "half", "calves": "calf", "shelves": "shelf", "scarves": "scarf", "loaves": "loaf", "oxen": "ox",
}  # fmt: skip
# End in s and are one, or are none where the s is gone.
SINGULAR = _set(
    "iris bus gas lens glass grass moss dress cross boss tennis canvas cactus octopus walrus platypus hibiscus "
    "species series this his its as is was pancreas atlas trellis chassis basis"
)
NEGATIONS = _set("no not without neither nor never lacks lacking")
