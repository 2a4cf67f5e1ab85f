"""Does a sentence give orders to a model? Patterns of words, in the languages people try most.

A sentence counts when it tells its reader to drop earlier instructions, to become somebody else, to reveal what it was
told, to hide something from its user, to run, send or fetch, or when it speaks as the system. Ordinary technical prose
also says "run this command" or "ignore warnings", so a verb alone never counts: it takes a verb and what only a model
has (instructions, a prompt, a user, tools) or what only a thief wants (keys sent to an address).
"""

from __future__ import annotations

import re

_EARLIER = (
    r"(?:previous(?:ly)?|prior|above|earlier|preceding|foregoing|existing|original|initial|former|current|system"
    r"|your|all|any|these|those|everything|every|the\s+other|my|our|old)"
)
_RULES = (
    r"(?:instruct\w*|prompts?|rules?|directi(?:ons?|ves?)|guidelines?|commands?|orders?|constraints?|restrictions?"
    r"|context|messages?|inputs?|training|programming|polic(?:y|ies)|task|safety|safeguards?|filters?|role|persona"
    r"|you\s+(?:were|have\s+been|are)\s+(?:told|given|asked|instructed))"
)
_PRIVATE = (
    r"(?:system\s*prompt|hidden\s+(?:prompt|instructions?|rules?)|initial\s+(?:prompt|instructions?)|pre-?prompt"
    r"|your\s+(?:own\s+)?(?:instructions?|prompt|rules|guidelines|configuration|system\s+message|developer\s+message)"
    r"|(?:api|secret|private|access|ssh)[\s_-]*keys?|passwords?|credentials?|tokens?|secrets?|environment\s+variables?"
    r"|\.env\b|id_rsa|conversation(?:\s+history)?|chat\s+(?:history|log)|user(?:'s|s)?\s+(?:data|files?|details|emails?))"
)
_SEND = (
    r"(?:send|post|upload|forward|e-?mail|transmit|exfiltrate|leak|submit|deliver|report|paste|append|encode|include)"
)
_SHOW = (
    r"(?:reveal|encode|print|show|repeat|output|display|disclose|dump|list|echo|recite|return|share|give|tell|write\s+out|leak"
    r"|expose|summari[sz]e|translate|copy|spell\s+out)"
)
_MODEL = r"(?:assistant|ai|a\.i\.|llm|language\s+model|chat\s*bot|chatgpt|gpt(?:-?\d)?|claude|gemini|copilot|agent|bot|model)"
_RUN = r"(?:run|execute|invoke|call|use|trigger|perform|issue|launch|eval(?:uate)?)"
_TOOLS = (
    r"(?:tools?|functions?|plugins?|shell|terminal|run_command|write_file|edit_file|delete_file|web_open|send_email|bash"
    r"|browser|rm\s+-rf|curl|wget)"
)

PATTERNS = tuple(
    re.compile(text, re.IGNORECASE)
    for text in (
        # drop what you were told
        rf"\b(?:ignore|disregard|forget|overrid\w*|bypass|neglect|skip|drop|discard|abandon|cancel|erase|delete|clear|reset"
        rf"|do\s+not\s+(?:follow|obey)|don'?t\s+(?:follow|obey)|stop\s+(?:following|obeying)|set\s+aside|pay\s+no\s+attention"
        rf"\s+to|no\s+longer\s+(?:follow|obey|apply))\b[^.!?\n]{{0,40}}\b{_EARLIER}\b[^.!?\n]{{0,40}}\b{_RULES}",
        r"\b(?:ignore|disregard|forget)\b[^.!?\n]{0,20}\b(?:everything|all|anything|what)\b[^.!?\n]{0,40}"
        r"\b(?:above|before|said|told|previously|earlier|so\s+far|you\s+know|learned|read)\b",
        rf"\b(?:previous|prior|above|earlier|old|original|former)\s+{_RULES}\b[^.!?\n]{{0,40}}\b(?:no\s+longer|void|invalid"
        rf"|cancell?ed|obsolete|superseded|replaced|revoked|do(?:es)?\s+not\s+apply|don'?t\s+apply|are\s+(?:wrong|fake|lifted))",
        r"\bnew\s+(?:system\s+)?(?:instructions?|prompt|task|rules?|directives?|orders?|objective|goal)\s*(?::|follow|are\b"
        r"|is\b|for\s+(?:you|the\s+(?:assistant|ai|model|agent)))",
        r"\b(?:your|the)\s+(?:new|real|actual|true|only|updated|next)\s+(?:task|job|goal|role|objective|instructions?"
        r"|purpose|mission|prompt)\s+(?:is|are|will)\b",
        r"\bfrom\s+(?:now|this\s+(?:point|moment))\s+on\w*\b[^.!?\n]{0,30}\b(?:you|your|answer|respond|reply|always|act|speak"
        r"|treat|only)\b",
        rf"\b(?:ignore|disregard|do\s+not\s+(?:follow|obey)|don'?t\s+(?:follow|obey)|overrid\w+)\b[^.!?\n]{{0,40}}\b{_RULES}\b[^.!?\n]{{0,40}}"
        r"\b(?:above|before|earlier|so\s+far|given|outdated|no\s+longer)\b",
        rf"\b{_RULES}\b[^.!?\n]{{0,40}}\b(?:given|set|made|written)\s+by\s+your\b[^.!?\n]{{0,40}}\b(?:no\s+longer|not|void|cancel\w*)\b",
        # become somebody else
        rf"\byou\s+(?:are|will\s+(?:be|become|act|play)|must\s+(?:act|become|pretend)|shall)\s+(?:now|no\s+longer|henceforth"
        rf"|from\s+now|going\s+to\s+(?:act|pretend|play)|an?\s+(?:unrestricted|uncensored|unfiltered|evil|jailbroken|free)"
        rf"|not\s+(?:an?\s+)?{_MODEL}|in\s+(?:developer|debug|god|admin|maintenance|sudo|dan)\s+mode)\b",
        r"\b(?:act|behave|respond|answer|speak|roleplay|role-play|pose)\s+(?:now\s+)?as\s+(?:if\s+you\s+(?:were|are|had)|an?"
        r"\s+(?:unrestricted|uncensored|unfiltered|evil|jailbroken|hacker|linux\s+terminal|root|admin\w*)|dan\b|my\s+)",
        rf"\b(?:pretend|imagine|simulate|assume|suppose)\b[^.!?\n]{{0,30}}\b(?:who|persona|you(?:'re|\s+are|\s+have|\s+were)|to\s+be|being)\b"
        rf"[^.!?\n]{{0,60}}\b(?:{_MODEL}|no\s+(?:rules|restrictions|limits|filters?|guidelines)|unrestricted|evil|developer"
        rf"|admin\w*|root|system|hacker|opposite|grandmother)\b",
        r"\b(?:developer|debug|god|admin(?:istrator)?|maintenance|sudo|jailbreak|unrestricted|dan)\s+mode\b[^.!?\n]{0,40}"
        r"\b(?:enabled?|on|activated?|engaged?|unlocked|now|enter|switch|granted)\b",
        r"\b(?:enter|enable|activate|switch\s+(?:in)?to|unlock|engage)\b[^.!?\n]{0,20}\b(?:developer|debug|god|admin|dan"
        r"|jailbreak|unrestricted|unsafe|opposite)\s+mode\b",
        r"\bdo\s+anything\s+now\b|\bjailbr(?:eak|oken)\b[^.!?\n]{0,40}\b(?:you|mode|prompt)\b",
        r"\b(?:without|no|free\s+(?:of|from))\s+(?:any\s+)?(?:restrictions?|filters?|censorship|ethic\w*|moral\w*|safety|limits?"
        r"|limitations?|guidelines?)\b[^.!?\n]{0,40}\b(?:answer|respond|reply|you|assistant|ai|comply)\b",
        r"\byou(?:'re|\s+are|\s+will|'ll|\s+shall|\s+must|\s+should)?\s+(?:now\s+)?(?:going\s+to|about\s+to|to|will)?\s*(?:now\s+)?(?:pretend"
        r"|impersonate|role-?play|immerse\s+yourself|take\s+on\s+the|play\s+(?:a|the)\s+(?:character|role|game|part))\b",
        r"^\W{0,4}(?:please\s+)?(?:act|behave)\s+(?:as|like)\b|\bI\s+(?:want|need|would\s+like|order|command)\s+you\s+to\s+(?:act|pretend|play"
        r"|ignore|respond|answer|become|be|behave|imagine|simulate|forget|always|never|only|write|say|tell|reply|give)\b",
        r"\b(?:take|adopt|assume|embody|play|enter|maintain|stay\s+in|create)\b[^.!?\n]{0,20}\b(?:role|persona|personality|character|identity)"
        r"\b[^.!?\n]{0,30}\b(?:of|named|called|as|and)\b[^.!?\n]{0,60}\b(?:ai|chatbot|bot|you|your|respond|answer|evil|unfiltered|restrain\w*)",
        rf"\b(?:{_MODEL}|it|he|she|persona|character)\b[^.!?\n]{{0,30}}\b(?:has|with|without|have|is|are|not|no)\b[^.!?\n]{{0,30}}\b(?:no|any"
        rf"|not|free|broken|bound|restricted|restrained|unfiltered|amoral|unethical)\b[^.!?\n]{{0,40}}\b(?:moral\w*|ethic\w*|restrictions?"
        rf"|censorship|confines|guidelines?|virtues?|openai'?s?|polic(?:y|ies))\b",
        r"\b(?:will|must|can|shall)\s+(?:always\s+)?(?:answer|respond\s+to|comply\s+with|fulfil?l?|obey|follow|do|reply\s+to)\s+(?:to\s+)?(?:any"
        r"|every|all|whatever|anything)\b[^.!?\n]{0,40}\b(?:prompt|question|request|order|command|ask\w*|illegal|immoral|unethical)",
        r"\b(?:no\s+matter|even\s+if|regardless)\b[^.!?\n]{0,40}\b(?:illegal|immoral|unethical|offensive|harmful|dangerous|inappropriate)\b",
        r"\b(?:respond|reply|answer|speak|talk|write)\b[^.!?\n]{0,20}\b(?:only\s+as|as\s+if\s+you|in\s+character|both\s+as|as\s+(?:dan|evil))\b",
        rf"\b(?:hello|hi|greetings|hey|dear|listen)\b\s*,?\s*{_MODEL}\b",
        # show what you were told, or what is not yours to show
        rf"\b{_SHOW}\b[^.!?\n]{{0,30}}\b(?:system\s*prompt|hidden\s+(?:prompt|instructions?|rules?)|initial\s+(?:prompt"
        rf"|instructions?)|your\s+(?:full\s+|entire\s+|exact\s+|original\s+|own\s+)*(?:instructions?|prompt|rules|guidelines"
        rf"|system\s+message|configuration|training\s+data|context|tools))\b",
        r"\b(?:repeat|print|output|translate|write|copy|say|summari[sz]e)\b[^.!?\n]{0,30}\b(?:everything|all|the\s+(?:text|words"
        r"|sentences?|message|lines?))\b[^.!?\n]{0,20}\b(?:above|before\s+this|preceding|you\s+were\s+(?:given|told)|so\s+far)\b",
        r"\bwhat\s+(?:are|were|is|was)\s+your\s+(?:\w+\s+)?(?:instructions?|system\s+prompt|prompt|rules|system\s+message)\b",
        rf"\b{_SEND}\b[^!?\n]{{0,60}}(?:\b|(?=\.)){_PRIVATE}[^!?\n]{{0,80}}(?:\bto\b|https?:|@|\bin(?:to)?\s+(?:the|a|your)\s+(?:url|query|link|request|answer|response|reply|commit)|\band\s+(?:output|print|open|put|include))",
        rf"\b(?:read|open|cat|get|fetch|find|collect|gather|take|extract|look\s+up)\b[^!?\n]{{0,40}}(?:\b|(?=\.)){_PRIVATE}"
        rf"[^.!?\n]{{0,60}}\b(?:and|then)\s+{_SEND}",
        r"\b(?:your|the\s+user'?s?|his|her|their|all)\s+(?:\w+\s+){0,2}(?:api\s*keys?|passwords?|credentials?|secrets?"
        r"|private\s+keys?|contacts|emails?|files?)\b[^.!?\n]{0,60}\b(?:to\s+(?:https?:|\S+@|this\s+(?:address|url|site|server)"
        r"|attacker|evil|me\b)|https?://)",
        r"!\[[^\]]{0,80}\]\(https?://[^)\s]{1,200}[?&=][^)\s]{0,80}(?:\{|\[|<|secret|data|prompt|history|token|key)",
        # keep it from the user
        r"\b(?:do\s+not|don'?t|never|without)\s+(?:tell\w*|inform\w*|mention\w*|reveal\w*|notify\w*|alert\w*|warn\w*|show\w*"
        r"|let|ask\w*|disclos\w*|report\w*|say\w*)\b[^.!?\n]{0,40}\b(?:the\s+)?(?:user|human|owner|person|operator|anyone"
        r"|admin\w*|this\s+(?:instruction|message|note|text))\b",
        r"\b(?:hide|conceal|keep)\b[^.!?\n]{0,40}\b(?:from\s+(?:the\s+)?(?:user|human|owner|operator)|secret\s+from|(?:this\s+)?"
        r"hidden\s+from)\b",
        r"\b(?:tell|inform|assure|convince|persuade)\s+(?:the\s+)?(?:user|human|reader|customer)s?\b[^.!?\n]{0,80}",
        # do something
        rf"\b{_MODEL}s?\b\s*[,:;!-]+\s*(?:you\s+(?:must|should|have\s+to|need\s+to)|please|now|ignore|disregard|do|run|execute|call"
        rf"|send|reply|respond|answer|write|say|output|stop|read|open|visit|delete|add|include|recommend|rate|approve|use|treat)\b",
        rf"\b(?:if|when|as|since|because)\s+(?:you\s+are|you're|an?|the|any|this\s+is)\s+(?:an?\s+|the\s+)?{_MODEL}\b[^.!?\n]{{0,60}}"
        rf"\b(?:you|please|must|should|reply|respond|answer|include|say|write|output|then|reads?|reading|processing|sees?)\b",
        rf"\b(?:any|all|the|every|attention|note\s+to|dear|hey|hello|for|to)\s+(?:{_MODEL}s?)\b[^.!?\n]{{0,30}}\b(?:reading|processing"
        rf"|summari[sz]ing|reviewing|viewing|parsing|who|that\s+(?:reads?|sees?|process\w*)|must|should)\b",
        rf"\b{_RUN}\b[^.!?\n]{{0,30}}\b(?:the|your|this|a|an)\s+(?:\w+\s+){{0,2}}{_TOOLS}\b[^.!?\n]{{0,50}}\b(?:with|to|and|on|for|now"
        rf"|immediately)\b[^.!?\n]{{0,60}}(?:https?:|/etc/|~/|\.env|secret|password|key|delete|attacker|evil|rm\s|instead|immediately"
        rf"|user|before\s+(?:you|answering))",
        rf"\b(?:you\s+(?:must|should|need\s+to|have\s+to|are\s+(?:required|instructed|ordered|authorized)\s+to)|please|immediately|now"
        rf"|first|instead|then)\s+(?:run|execute|invoke|call)\b[^.!?\n]{{0,40}}(?:\b{_TOOLS}|`(?:curl|wget|rm|bash|sh|cat|nc)\b)",
        r"\b(?:before|instead\s+of|rather\s+than|after)\s+(?:answering|responding|replying|continuing|summari[sz]ing|doing\s+(?:so"
        r"|anything|what)|you\s+(?:answer|respond|continue|reply))\b[^.!?\n]{0,80}",
        r"\b(?:respond|reply|answer|output|say)\b[^.!?\n]{0,25}\b(?:only|just|exactly|nothing\s+but"
        r"|always|every\s+(?:answer|response|reply|sentence|message)|your\s+(?:answer|response|reply|output|next\s+message))\b"
        r"[^.!?\n]{0,25}(?:\bwith\b|\bby\b|:|\"|'|“|\bthe\s+(?:word|phrase|text|sentence)\b)",
        r"\b(?:instead|rather)\b\s*,?\s*(?:say|output|print|respond|reply|answer|tell|send|recommend|translate)\b",
        r"\byour\s+(?:next\s+)?(?:answer|response|reply|output|summary)\s+(?:must|should|has\s+to|needs\s+to|will)\b",
        r"\b(?:end|begin|start|finish|close)\s+(?:every|each|all|your)\s+(?:answer|response|reply|message|sentence|output)s?\b",
        rf"\b{_MODEL}s?\b[^.!?\n]{{0,50}}\b(?:must|should|has\s+to|have\s+to)\s+(?:always\s+|never\s+)?(?:obey|rate|recommend|treat|prefer|rank|say|state"
        r"|include|respond|reply|approve|ignore|mention|describe|conclude)\b",
        r"\b(?:stop|halt|pause|abort|end)\b[^.!?\n]{0,20}\b(?:what\s+you(?:'re|\s+are)|your\s+(?:current\s+)?(?:task|work|job)|the\s+"
        r"(?:current\s+)?(?:task|conversation))\b",
        r"\b(?:approve|accept|merge|promote|rate|rank|score|recommend|grade)\b[^.!?\n]{0,40}\b(?:this\s+(?:patch|candidate|paper|product"
        r"|submission|change|resume|application|review|pull\s+request)|regardless|no\s+matter|highest|top\s+(?:choice|score|rating)"
        r"|positive(?:ly)?)\b[^.!?\n]{0,60}\b(?:regardless|without|always|immediately|only|must|no\s+matter|do\s+not|ignore|highest"
        r"|positive)\b",
        r"\b(?:remember|memori[sz]e|store|save|add)\b[^.!?\n]{0,30}\b(?:to|in|into)\s+(?:your\s+)?(?:long[- ]term\s+)?memory\b",
        r"\byou\s+(?:must|have\s+to|are\s+(?:required|obliged|instructed|ordered|commanded)\s+to)\s+(?:now\s+)?(?:comply|obey|follow"
        r"|always|never|answer|respond|reply|say|ignore|refuse|reveal|include|write|tell|output|act|pretend|delete|send)\b",
        r"\b(?:this|the\s+following)\s+(?:is|are|instruction\w*|message)\b[^.!?\n]{0,30}\b(?:overrid\w+|supersed\w+|take\w*\s+(?:precedence"
        r"|priority)|highest\s+priority|more\s+important\s+than)\b",
        r"\b(?:highest|top|maximum|absolute)\s+priority\b[^.!?\n]{0,40}\b(?:instruction|order|directive|over|override|command)",
        # speaking as the system
        r"^\W{0,6}(?:system|assistant|developer|admin(?:istrator)?)\s*(?:message|prompt|note|override|instructions?|notice|update"
        r"|alert|command)?\s*\W{0,3}[:>\]}](?!:)\W{0,3}\s*\S",
        r"^\W{0,6}(?:important|attention|urgent|critical|notice|warning)\b[^.!?\n]{0,30}\b(?:assistant|ai\b|llm|agent|model|chatbot"
        r"|instruction)",
        r"\b(?:end|begin|start|close)\s+(?:of\s+)?(?:the\s+)?(?:system\s+prompt|user\s+(?:input|data|message)|untrusted|document|context"
        r"|instructions?|web\s*page|tool\s+(?:output|result))\b",
        r"\b(?:the\s+)?(?:system|developer|administrator|security\s+team|your\s+(?:creator|developer|owner|operator)s?|openai|anthropic"
        r"|google)\b[^.!?\n]{0,20}\b(?:has|have|hereby|now|requires?|instructs?|orders?|authori[sz]e[sd]?|grants?|allows?|says?|wants?"
        r"|asks?)\b[^.!?\n]{0,40}\b(?:you|the\s+(?:assistant|ai|model|agent))\b",
        r"\"(?:tool|function|name)\"\s*:\s*\"[^\"]+\"\s*,\s*\"(?:arguments|parameters|args|input)\"\s*:",
        # Spanish, Portuguese, French, German, Italian
        r"\b(?:ignora|ignore[ns]?|olvida|olvide|descarta|omite|desobedece|desestima|esque[cç]a|desconsidere|desconsidera)\b[^.!?\n]{0,40}"
        r"\b(?:instruc\w+|instru[cç]\w+|reglas|regras|[oó]rdenes|ordens|indicaciones|anterior\w*|previas?|todo\s+lo|tudo)\b",
        r"\b(?:ahora|a\s+partir\s+de\s+(?:ahora|agora)|agora)\b[^.!?\n]{0,20}\b(?:eres|ser[aá]s|act[uú]a|responde|debes|voc[eê]\s+[eé]|aja)\b",
        r"\b(?:revela|muestra|imprime|repite|dime|mostra|mostre|repita)\b[^.!?\n]{0,30}\b(?:prompt|instruc\w+|instru[cç]\w+|clave|contrase\w+"
        r"|senha|secret\w+)",
        r"\bno\s+(?:le\s+)?(?:digas|informes|menciones|cuentes|avises)\b[^.!?\n]{0,30}\b(?:usuario|nadie|humano)\b",
        r"\b(?:ignore[zs]?|oublie[zs]?|ne\s+tiens?\s+pas\s+compte)\b[^.!?\n]{0,40}\b(?:instructions?|consignes?|r[eè]gles?|ordres?|pr[eé]c[eé]"
        r"dent\w*|ci-dessus)\b",
        r"\b(?:tu\s+es|vous\s+[eê]tes)\s+(?:maintenant|d[eé]sormais)\b|\bd[eé]sormais\b[^.!?\n]{0,20}\b(?:r[eé]ponds|tu|vous)\b",
        r"\b(?:ignoriere?n?|vergiss|vergessen\s+sie|missachte?n?|[uü]bergehe?n?)\b[^.!?\n]{0,40}\b(?:anweisung\w*|regel\w*|vorgaben|befehle?"
        r"|bisherig\w*|vorherig\w*|obig\w*|alles)\b",
        r"\b(?:du\s+bist|sie\s+sind)\s+(?:jetzt|nun|ab\s+(?:jetzt|sofort))\b|\bab\s+(?:jetzt|sofort)\b[^.!?\n]{0,20}\b(?:du|antworte|sie)\b",
        r"\b(?:ignora|dimentica|trascura|non\s+seguire)\b[^.!?\n]{0,40}\b(?:istruzioni|regole|ordini|precedent\w*|quanto\s+sopra|tutto)\b",
        # other scripts
        r"忽略.{0,12}(?:指令|指示|规则|提示|说明|内容)|無視.{0,8}(?:指示|命令)|(?:指示|命令|ルール).{0,10}無視|(?:无视|忘记).{0,12}(?:指令|指示|规则)",
        r"(?:игнорируй|проигнорируй|забудь|игнорируйте|забудьте)[^.!?\n]{0,40}(?:инструкци|указани|правил|команд|предыдущ)",
        r"(?:تجاهل|انس)[^.!?\n]{0,40}(?:التعليمات|الأوامر|السابقة)|이전.{0,10}(?:지시|명령|지침).{0,10}(?:무시|잊)",
    )
)
LOOKALIKES = str.maketrans(
    {
        "а": "a", "е": "e", "о": "o", "р": "p", "с": "c", "у": "y", "х": "x", "і": "i", "ј": "j", "ѕ": "s", "ԁ": "d",
        "ɡ": "g", "ο": "o", "α": "a", "ν": "v", "ι": "i", "κ": "k", "τ": "t", "0": "o", "1": "i", "3": "e", "4": "a",
        "5": "s", "7": "t", "$": "s", "@": "a",
    }
)  # fmt: skip
SECOND_LOOK = re.compile(r"[A-Za-z][013457$@][A-Za-z]|[а-яіјѕԁɡοανικτ][a-z]|[a-z][а-яіјѕԁɡοανικτ]")


def gives_orders(sentence: str) -> bool:
    """True where some pattern matches the sentence, or the sentence with look-alike letters put right."""
    if any(pattern.search(sentence) for pattern in PATTERNS):
        return True
    sentence = sentence.lower()
    if not SECOND_LOOK.search(sentence):
        return False
    plain = sentence.translate(LOOKALIKES)
    return any(pattern.search(plain) for pattern in PATTERNS)
