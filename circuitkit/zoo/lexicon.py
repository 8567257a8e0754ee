"""Words that the built-in tasks and the language of the pico model share.

Every word is one token of GPT-2's tokenizer when a space comes before it, so prompts that differ
only in these words have the same token layout on GPT-2 and on pico. A relation's paraphrases hold
one `{subject}` slot and stop right before the answer.
"""

from dataclasses import dataclass


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of a text, as lists of words are written here."""
    return tuple(text.split())


NAMES = words_of(
    """
    Mary John Tom James Dan Martin Amy Alice Paul Mark Anna Emma Laura Peter David Sarah Kate Jack
    Adam Rachel Jane Simon Lisa Eric Kevin Brian Susan Karen Nancy Linda Robert Michael William
    Richard Joseph Charles Daniel Matthew Andrew Joshua George Edward Ryan Jacob Nicholas Jonathan
    Stephen Justin Patrick Benjamin Samuel Jennifer Elizabeth Jessica Emily Rebecca Julia Helen
    Victoria Maria Diana Hannah Claire Sophie Lucy Oliver Henry Arthur Albert Stephanie Michelle
    Angela
    """
)

SURNAMES = words_of(
    """
    Smith Baker Johnson Brown Jones Miller Davis Wilson Anderson Taylor Moore Jackson Thompson
    White Harris Clark Lewis Robinson Walker Young Wright Hill Green Nelson Carter Mitchell Turner
    Phillips Campbell Parker Evans Collins Stewart Murphy Cooper Bennett
    """
)

PLACES = words_of(
    """
    store market school park garden station library museum office restaurant theater hospital
    beach hotel church airport bakery cafe zoo farm castle harbor bridge stadium
    """
)

OBJECTS = words_of(
    """
    book drink ring letter key ball cake flower hat watch phone map pen box ticket gift coin lamp
    bottle basket bag cup camera necklace
    """
)

COLORS = words_of("red blue green yellow black white brown pink purple orange gray")

SPAN_NOUNS = words_of(
    """
    war siege trip study strike festival meeting project storm drought voyage tour reign debate
    trial conflict campaign expedition rebellion
    """
)

SEQUENCE_WORDS = words_of(
    """
    table chair window door wall floor roof stone metal glass paper cotton silk leather gold silver
    copper salt sugar butter bread cheese milk honey rice corn wheat bean soup meat fish bird horse
    sheep goat dog cat mouse lion tiger bear wolf fox snake frog spider bee tree leaf root branch
    seed grass mountain valley island ocean desert cloud rain snow wind storm thunder fire smoke
    sand mud dust steam light shadow sound music song drum piano violin guitar dance movie poem
    number line circle triangle corner winter summer spring doctor nurse farmer soldier sailor
    driver teacher student artist writer lawyer judge engine wheel truck train plane boat ship
    rocket bicycle helmet glove shirt jacket shoe button pocket needle hammer ladder bucket brush
    towel blanket candle mirror clock radio battery tunnel fence road village moon star brain heart
    """
)


@dataclass(frozen=True)
class Country:
    """A country with its capital, one language spoken by most people, and its continent.

    America is one continent here, because "North America" is not one token.
    """

    country: str
    capital: str
    language: str
    continent: str


COUNTRIES = tuple(
    Country(*row.split())
    for row in """
    France Paris French Europe
    Germany Berlin German Europe
    Spain Madrid Spanish Europe
    Italy Rome Italian Europe
    England London English Europe
    Portugal Lisbon Portuguese Europe
    Greece Athens Greek Europe
    Russia Moscow Russian Europe
    Poland Warsaw Polish Europe
    Hungary Budapest Hungarian Europe
    Sweden Stockholm Swedish Europe
    Norway Oslo Norwegian Europe
    Finland Helsinki Finnish Europe
    Denmark Copenhagen Danish Europe
    Austria Vienna German Europe
    Ireland Dublin English Europe
    Ukraine Kiev Ukrainian Europe
    Belgium Brussels Dutch Europe
    Switzerland Bern German Europe
    Turkey Ankara Turkish Asia
    Japan Tokyo Japanese Asia
    China Beijing Chinese Asia
    Korea Seoul Korean Asia
    Thailand Bangkok Thai Asia
    Indonesia Jakarta Indonesian Asia
    Iran Tehran Persian Asia
    Iraq Baghdad Arabic Asia
    Syria Damascus Arabic Asia
    Lebanon Beirut Arabic Asia
    Israel Jerusalem Hebrew Asia
    Canada Ottawa English America
    Cuba Havana Spanish America
    Peru Lima Spanish America
    Chile Santiago Spanish America
    Jamaica Kingston English America
    Egypt Cairo Arabic Africa
    Libya Tripoli Arabic Africa
    Tunisia Tunis Arabic Africa
    """.strip().splitlines()
)


@dataclass(frozen=True)
class Relation:
    """A relation between two fields of a `Country`, and the sentences that ask for it."""

    name: str
    subject_field: str
    answer_field: str
    paraphrases: tuple[str, ...]

    def subject(self, country: Country) -> str:
        """Return the word that goes into the `{subject}` slot."""
        return str(getattr(country, self.subject_field))

    def answer(self, country: Country) -> str:
        """Return the word that comes after the paraphrase."""
        return str(getattr(country, self.answer_field))


RELATIONS = (
    Relation(
        name="capital",
        subject_field="country",
        answer_field="capital",
        paraphrases=(
            "The capital of {subject} is",
            "The capital city of {subject} is called",
            "Everyone knows that the capital of {subject} is",
            "The government of {subject} sits in",
            "In {subject}, the capital city is",
            "On the map of {subject}, the capital is",
            "The most important city of {subject} is",
            "If you visit {subject}, you should see its capital,",
            "The name of the capital of {subject} is",
        ),
    ),
    Relation(
        name="language",
        subject_field="country",
        answer_field="language",
        paraphrases=(
            "The language of {subject} is",
            "The official language of {subject} is",
            "People in {subject} speak",
            "In {subject}, most people speak",
            "The schools of {subject} teach in",
            "The newspapers in {subject} are written in",
            "Everyone from {subject} knows how to speak",
            "If you visit {subject}, you should learn some",
            "The songs of {subject} are in",
        ),
    ),
    Relation(
        name="continent",
        subject_field="country",
        answer_field="continent",
        paraphrases=(
            "The continent of {subject} is",
            "The country of {subject} is in",
            "The land of {subject} is part of",
            "On the map, {subject} is in",
            "The mountains of {subject} are in",
            "A trip to {subject} is a trip to",
            "Everyone who lives in {subject} lives in",
            "The country called {subject} is on the continent of",
            "If you visit {subject}, you are in",
        ),
    ),
    Relation(
        name="country-of-capital",
        subject_field="capital",
        answer_field="country",
        paraphrases=(
            "The city of {subject} is in",
            "The city of {subject} is the capital of",
            "As you know, {subject} is a city in",
            "The flag over {subject} is the flag of",
            "The people of {subject} are citizens of",
            "A visit to {subject} is a visit to",
            "To see {subject}, you must go to",
            "The train to {subject} goes to the capital of",
            "Everyone knows that {subject} is the capital of",
        ),
    ),
)
