"""The sentence parts of pico's language: data only.

Slots in braces are filled with words of `circuitkit.zoo.lexicon`. In sentences of giving, `{A}` and
`{B}` are the first two people in order of mention, `{S}` gives and `{IO}` gets.
"""

PEOPLE = (
    "doctor",
    "nurse",
    "farmer",
    "soldier",
    "sailor",
    "driver",
    "teacher",
    "student",
    "artist",
    "writer",
)

# Sentences of giving: an opening, what two people did, a link, and who gave what to whom.
CLAUSE_OPENINGS = ("When", "After", "While", "As", "Just after", "Because", "Before")
SENTENCE_OPENINGS = (
    "Then,",
    "Yesterday,",
    "Today,",
    "One day,",
    "Last week,",
    "In the morning,",
    "Some time ago,",
    "This summer,",
)
JOINT_CLAUSES = (
    "went to the {place}",
    "were at the {place}",
    "had lunch at the {place}",
    "met at the {place}",
    "bought a {object} at the {place}",
    "walked to the {place}",
    "worked at the {place}",
    "waited near the {place}",
    "had a long talk",
    "were thinking about going to the {place}",
    "found a {object} in the {place}",
    "got a {object} at the {place}",
    "spent the day at the {place}",
    "played near the {place}",
    "had fun at the {place}",
)
GIVINGS = (
    "gave a {object} to",
    "gave the {object} to",
    "handed a {object} to",
    "passed the {object} to",
    "decided to give a {object} to",
    "offered a {object} to",
    "sent a {object} to",
    "brought a {object} to",
    "wanted to give the {object} to",
    "showed the {object} to",
    "said goodbye to",
    "told a long story to",
    "threw the {object} to",
    "sold a {object} to",
    "promised a {object} to",
)
SENTENCE_LINKS = (
    ".",
    ". Later,",
    ". Then,",
    ". Soon,",
    ". After that,",
    ". There,",
    ". In the evening,",
    ". At the end of the day,",
    ", and",
    ", and then",
    ", so",
)
ARRIVALS = (
    "The {place} was closed when {A} and {B} came",
    "The {place} was very quiet when {A} and {B} arrived",
    "At the {place}, {A} and {B} looked for a {object}",
    "In the {place}, {A} and {B} sat near the door",
    "It was late, and {A} and {B} were still at the {place}",
    "The {person} saw {A} and {B} near the {place}",
)

# Texts about people with a first name and a surname. `{P}`, `{Q}`, `{R}` are full names.
INTRODUCTIONS = (
    "The {person} met {P} at the {place}.",
    "Yesterday, the {person} saw {P} near the {place}.",
    "Everyone at the {place} knows {P}.",
    "My friend {P} works at the {place}.",
    "A {person} called {P} lives near the {place}.",
    "The {person} met {P} and {Q} at the {place}.",
    "Today, {P} and {Q} came to the {place}.",
    "The {object} of {P} is better than the {object2} of {Q}.",
    "The {place} belongs to {P}, and the {place2} belongs to {Q}.",
    "The names on the list are {P}, {Q} and {R}.",
    "The {person} wrote to {P}, {Q} and {R}.",
)
MENTIONS = (
    "Later, {P} went to the {place}.",
    "Then, {P} bought a {object}.",
    "The {object} was for {P}.",
    "Everyone likes {P}.",
    "The {person} called {P}.",
    "After that, {P} found the {object}.",
    "Soon, the {person} talked to {P}.",
    "Every week, {P} sells a {object}.",
    "Today, the {person} thanked {P}.",
    "The {person} gave the {object} to {P}.",
)

REPEAT_HEADINGS = ("List:", "List:", "List:", "Words:", "Again:", "")

PLAIN_SENTENCES = (
    "The {person} put a {object} near the {word}.",
    "The {word} is near the {word2}.",
    "There is a {word} in the {place}.",
    "The {person} sold the {word} and the {word2}.",
    "Everyone at the {place} talked about the {word}.",
    "My {word} is better than the {word2} of the {person}.",
    "A {word} and a {word2} were in the {place}.",
    "Yesterday, {name} saw a {word} at the {place}.",
    "My friend {name} lives near the {place}.",
    "Today, {name} likes the {object}.",
    "Last week, {name} went to {country} with a {person}.",
    "This summer, {name} found a {word} in {capital}.",
    "Every {person} from {country} likes the {word}.",
    "Then, {name} wanted to speak {language} at the {place}.",
    "Some people in {continent} have a {word} and a {object}.",
    "The {person} called {surname} wrote about {country}.",
    "At the {place}, the {person} talked to {name} about {capital}.",
    "One day, the {person} learned some {language}.",
    "The {person} played the song of the {word}.",
)

# Spans of years. `{start}` and `{end}` are years of one century, `{end}` the later one.
YEAR_SPANS = (
    "The {noun} lasted from {start} to {end}.",
    "The {noun} went on from {start} to {end}.",
    "The {noun} ran from {start} to {end}.",
    "The {noun} started in {start} and ended in {end}.",
)
