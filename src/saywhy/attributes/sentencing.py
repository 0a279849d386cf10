"""Attributes in words: noun phrases, and the sentence. No torch, no numbers."""

from __future__ import annotations

from collections.abc import Sequence

from saywhy.attributes.phrases import Attribute, merged, phrase


def listed(attributes: Sequence[Attribute]) -> str:
    """Attributes as noun phrases, those of one noun together: "a red breast and a long, curved beak"."""
    said = [phrase(adjectives, quoted(noun)) for adjectives, noun in merged(attributes)]
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}" if said else ""


def quoted(name: str) -> str:
    """A name that is no plain words, in quotes."""
    plain = all(letter.isalpha() or letter in " -'" for letter in name)
    return name if plain else "“" + name.replace("“", "'").replace("”", "'") + "”"


def sentence(name: str, fors: Sequence[Attribute], against: Sequence[Attribute], usual: Sequence[Attribute]) -> str:
    """The sentence of the source, with what speaks against the class, and apart what is known of the class alone."""
    although = f", although it has {listed(against)}" if against else ""
    said = [f"This is {quoted(name)} because it has {listed(fors)}{although}."] if fors else []
    if usual:
        also = "Also, pictures" if fors else "Pictures"
        said.append(
            f"{also} of {quoted(name)} usually have {listed(usual)}; this picture alone does not tell that it has, but "
            "what is in that place counts."
        )
    return " ".join(said) or f"No attribute is sure enough to say why this is {quoted(name)}."
