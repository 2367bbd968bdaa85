"""What titles and texts of the real projects are made of."""

# Several scripts, characters of four bytes, quotes, and the end of a line.
PHRASES = (
    "The long way round",
    "Ein Fluß, zwei Ufer",
    "O caminho é longo — e então?",
    "長い道のり",
    "Длинный путь",
    "الطريق الطويل",
    "Boats ⛵ and stars 🌠",
    'It\'s "quoted" \\ 100 % sure\nand goes on',
)


def phrase(number: int) -> str:
    return f"{PHRASES[number % len(PHRASES)]} {number}"


def title_of(number: int) -> str:
    """Return a phrase that fits into one line, as addresses and the subjects of messages need it."""
    return phrase(number).replace("\n", " ")
