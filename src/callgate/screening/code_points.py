"""Sets of characters that text deceives with, and of those that need them: facts from the Unicode Character Database.

Each is the inside of a character class of a regular expression.  Sources, version 17.0: DerivedCoreProperties.txt
(Default_Ignorable_Code_Point), Scripts.txt, emoji-data.txt (Extended_Pictographic, UTS 51), StandardizedVariants.txt,
and UAX 9 for what directs text.
"""

from typing import Final

# ECMA-48, 5th edition: C0 and C1 without tab (HT), line feed (LF) and carriage return (CR); DEL.
CONTROLS: Final = "\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
# ESC, BEL, and the C1 controls that open or end a sequence: DCS, SOS, CSI, ST, OSC, PM, APC.
SEQUENCES: Final = "\x07\x1b\x90\x98\x9b-\x9f"
# UAX 9, section 2: embeddings, overrides, isolates.
DIRECTIONS: Final = "\u202a-\u202e\u2066-\u2069"
# UAX 9, section 2.6: LRM, RLM, ALM.
MARKS: Final = "\u200e\u200f\u061c"
# Nothing to see, whatever stands beside it: zero-width space and joiner of words, invisible operators, deprecated format
# characters, Hangul fillers, soft hyphen, format characters of shorthand and music, what is ignorable and unassigned.
INVISIBLE: Final = (
    "\u00ad\u2060-\u2065\u206a-\u206f\u3164\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0080-\U000e00ff\U000e01f0-\U000e0fff"
)
JOINERS: Final = "\u200c\u200d"
TAGS: Final = "\U000e0000-\U000e007f"
VARIATIONS: Final = "\ufe00-\ufe0f"
IDEOGRAPHIC_VARIATIONS: Final = "\U000e0100-\U000e01ef"
MONGOLIAN_FORMATS: Final = "\u180b-\u180f"
# What is seen only by some: interlinear annotations.
ANNOTATIONS: Final = "\ufff9-\ufffb"

# Scripts whose letters join, or whose marks stack: there a joiner shapes the word (The Unicode Standard, 23.2).
JOINING: Final = (
    "\u0610-\u061a\u0620-\u065f\u066e-\u06ef\u06fa-\u06ff\u0700-\u077f\u07ca-\u07fa\u0840-\u086f\u0870-\u08ff"
    "\u0900-\u0dff\u0f00-\u0fff\u1000-\u109f\u1700-\u17ff\u1820-\u18aa\u1a20-\u1aad\u1b00-\u1bff\ua840-\ua877"
    "\ua8e0-\ua8ff\ua980-\ua9ff\uaa00-\uaaf6\uabc0-\uabff\ufb50-\ufdff\ufe70-\ufefc"
    "\U00010a00-\U00010a3f\U00010ac0-\U00010aef\U00010b80-\U00010baf\U00010d00-\U00010d3f\U00010f30-\U00010fff"
    "\U00011000-\U00011fff\U0001e900-\U0001e95f"
)
ARABIC: Final = "\u0620-\u063f\u0641-\u064a\u0671-\u06d3\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefc"
# Scripts that are written without spaces: a zero-width space tells where a line may end.
WITHOUT_SPACES: Final = (
    "\u0e01-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aad\ua980-\ua9df\uaa60-\uaaf6"
)
RIGHT_TO_LEFT: Final = (
    "\u05d0-\u05f4\u0620-\u085f\u0860-\u08c9\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff"
)
# Pictures, and the symbols that can be pictures.
PICTURES: Final = (
    "\u00a9\u00ae\u203c\u2049\u2100-\u214f\u2190-\u21ff\u2300-\u23ff\u24c2\u25a0-\u27bf\u2900-\u297f\u2b00-\u2bff"
    "\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
)
HAN: Final = "\u2e80-\u2fdf\u3005\u3007\u3021-\u3029\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003347f"
# Beside ideographs: punctuation, operators, Myanmar, Phags-pa, and the zero that is slashed.
VARIED: Final = (
    "0\u2018-\u201d\u2200-\u22ff\u2a00-\u2aff\u1000-\u109f\u3001\u3002\ua840-\ua877\uaa60-\uaa7f\uff01-\uff1f"
)
KANA_AND_HANGUL: Final = "\u3040-\u30ff\u3100-\u312f\u31a0-\u31ff\uac00-\ud7a3\uff66-\uff9d"

LATIN: Final = "A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0250-\u02af\u1e00-\u1eff"
GREEK: Final = "\u0370-\u03e1\u03f0-\u03ff\u1f00-\u1fff"
CYRILLIC: Final = "\u0400-\u0482\u048a-\u052f\u1c80-\u1c8a\ua640-\ua66e\ua680-\ua69d"
# Further scripts whose letters are taken for Latin ones: Armenian, Cherokee, Coptic, Lisu, Deseret.
FORGING: Final = (
    "\u0531-\u0556\u0560-\u0588\u13a0-\u13fd\uab70-\uabbf\u03e2-\u03ef\u2c80-\u2cee\ua4d0-\ua4f7\U00010400-\U0001044f"
)
FULL_WIDTH: Final = "\uff21-\uff3a\uff41-\uff5a"
# Letters as symbols: mathematical ones, letter-like symbols, letters in circles, boxes and brackets.
FANCY: Final = (
    "\u2102\u210a-\u2113\u2115\u2118-\u211d\u2124\u2128\u212a-\u212d\u212f-\u2131\u2133\u2134\u2145-\u2149"
    "\u249c-\u24e9\U0001d400-\U0001d7cb\U0001f110-\U0001f149\U0001f150-\U0001f169\U0001f170-\U0001f189"
)
