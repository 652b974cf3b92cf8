"""English function words, which carry no topic, for machines without NLTK's data. As in NLTK's list, "not", "no" and
"nor" are among them.
"""

from __future__ import annotations

_PRONOUNS = """i me my myself we us our ours ourselves you your yours yourself yourselves he him his himself she her
hers herself it its itself they them their theirs themselves this that these those who whom whose which what"""
_VERBS = """am is are was were be been being have has had having do does did doing can could will would shall should may
might must"""
_JOINTS = """a an the and but if or because as until while of at by for with about against between into through during
before after above below to from up down in out on off over under again further then once here there when where why
how"""
_QUANTITIES = """all any both each few more most other some such only own same so than too very just now no nor not"""
_CONTRACTIONS = """i'm i've i'll i'd you're you've you'll you'd he's he'll he'd she's she'll she'd it's it'll it'd we're
we've we'll we'd they're they've they'll they'd that's that'll who's what's there's isn't aren't wasn't weren't haven't
hasn't hadn't don't doesn't didn't can't couldn't won't wouldn't shan't shouldn't mightn't mustn't needn't should've"""
_PIECES = """s t d m o y ll re ve ma don ain aren couldn didn doesn hadn hasn haven isn mightn mustn needn shan shouldn
wasn weren won wouldn"""

ENGLISH = frozenset(" ".join((_PRONOUNS, _VERBS, _JOINTS, _QUANTITIES, _CONTRACTIONS, _PIECES)).split())
