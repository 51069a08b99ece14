"""The forms that issuers gave their keys, as RE2, from the issuers' own documents and the token formats that they
registered for secret scanning.  What is meant to be seen (publishable keys, identifiers of accounts) is not here.

Lengths are lower bounds below the issuer's own: what begins so and goes on at random is no chance.
"""

from typing import Final

_W: Final = "[0-9A-Za-z_-]"
_A: Final = "[0-9A-Za-z]"
_HEX: Final = "[0-9a-fA-F]"
_UUID: Final = f"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}"

FORMS: Final = (
    # Amazon Web Services, IAM identifiers: access keys of users and of temporary credentials; Bedrock.
    "(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}", f"ABSK{_A}{{24,}}[=]{{0,2}}", "(?:FwoGZXIvYXdz|IQoJb3JpZ2lu)[0-9A-Za-z+/=]{24,}",
    rf"amzn\.mws\.{_UUID}",
    # Google Cloud and Workspace.
    rf"AIza{_W}{{24,}}", rf"ya29\.{_W}{{20,}}", rf"GOCSPX-{_W}{{20,}}", rf"1//0{_W}{{20,}}", rf"AQ\.{_W}{{24,}}",
    # Microsoft: client secrets of Entra ID, Azure DevOps, keys with an issuer's mark in them.

    "sig=[0-9A-Za-z%/+_-]{24,}=?", r"https?://[0-9A-Za-z.-]+\.windows\.net/[^\s\"'<>]*[?&]sig=[0-9A-Za-z%+/=]{20,}(?:&[0-9A-Za-z%+/=&:.-]*)?",
    # GitHub, GitLab, Bitbucket, Gitea.
    rf"gh[pousr]_{_A}{{20,}}", "github_pat_[0-9A-Za-z_]{20,}", "gl(?:pat|dt|ptt|rt|rtr|cbt|ft|soat|oas|imt|agent|ffct|wt)-[0-9A-Za-z_.-]{16,}",
    rf"GR1348941{_W}{{16,}}", rf"_gitlab_session={_HEX}{{32}}", "ATBB[0-9A-Za-z=]{24,}",
    # Atlassian, Trello.
    rf"AT(?:ATT|CTT)3{_W}{{24,}}(?:=[0-9A-F]{{8}})?", rf"ATTA{_HEX}{{24,}}",
    # Slack, Discord, Telegram, Microsoft Teams, Google Chat, Zapier, Twitch, Mattermost.
    r"xox[a-z](?:\.xox[a-z])?-[0-9A-Za-z-]{10,}", "xapp-[0-9]-[0-9A-Za-z-]{10,}",
    r"https?:\\?/\\?/hooks\.slack(?:-gov)?\.com\\?/(?:services|workflows|triggers)[0-9A-Za-z/_\\+-]{20,}",
    rf"https?:\\?/\\?/(?:[a-z]+\.)?discord(?:app)?\.com\\?/api(?:\\?/v[0-9]+)?\\?/webhooks\\?/[0-9]+\\?/{_W}{{20,}}",
    rf"mfa\.{_W}{{24,}}",
    r"https?://[0-9A-Za-z-]+\.webhook\.office\.com/webhookb2/[0-9A-Za-z@/_-]{24,}",
    r"https?://outlook\.office(?:365)?\.com/webhook/[0-9A-Za-z@/_-]{24,}",
    rf"https?://chat\.googleapis\.com/v1/spaces/{_W}+/messages\?[^\s\"'<>]*token=[0-9A-Za-z_%=-]{{20,}}",
    r"https?://hooks\.zapier\.com/hooks/catch/[0-9A-Za-z/]{12,}", r"oauth:[0-9a-z]{30}",
    rf"https?://maker\.ifttt\.com/trigger/{_W}+/with/key/{_W}{{16,}}",
    # Payments: Stripe, Square, PayPal's Braintree, Adyen, Flutterwave, Razorpay, Plaid, GoCardless, Shippo, EasyPost, Lob.
    rf"(?:sk|rk)_(?:live|test|prod)_{_A}{{10,}}", "whsec_[0-9A-Za-z+/=_-]{16,}", rf"sq0(?:atp|csp)-{_W}{{20,}}", "EAAA[0-9A-Za-z_-]{24,}",
    rf"access_token\$(?:production|sandbox)\$[0-9a-z]{{16}}\${_HEX}{{32}}", "AQE[a-z][0-9A-Za-z+/*=_.^-]{24,}",
    rf"FLWSECK(?:_TEST)?-{_A}{{12,}}(?:-X)?", rf"rzp_(?:live|test)_{_A}{{14,}}", rf"access-(?:sandbox|development|production)-{_UUID}",
    rf"(?:live|sandbox)_{_W}{{40}}", rf"shippo_(?:live|test)_{_HEX}{{24,}}", rf"EZ[AT]K{_A}{{24,}}", rf"(?:live|test)_{_A}{{24,}}",
    rf"duffel_(?:live|test)_{_W}{{24,}}",
    # Models: OpenAI, Anthropic, OpenRouter (`sk-`), Hugging Face, Groq, xAI, Replicate, Perplexity, NVIDIA, LangSmith,
    # Pinecone, Fireworks, Tavily, Jina, ElevenLabs, Cerebras, Together, Firecrawl, E2B, Weights & Biases.
    rf"sk-{_W}{{20,}}", rf"(?:hf|api_org)_{_A}{{20,}}", rf"gsk_{_A}{{20,}}", rf"xai-{_A}{{24,}}", rf"r8_{_A}{{20,}}", rf"pplx-{_A}{{20,}}",
    rf"nvapi-{_W}{{20,}}", "lsv2_(?:pt|sk)_[0-9a-f_]{20,}", rf"pcsk_{_W}{{20,}}", rf"fw_{_A}{{20,}}", rf"tvly-{_W}{{16,}}", rf"jina_{_W}{{24,}}",
    rf"sk_{_HEX}{{24,}}", rf"csk-{_A}{{20,}}", rf"tgp_v1_{_W}{{20,}}", rf"fc-{_HEX}{{32}}", rf"e2b_{_HEX}{{20,}}", rf"wandb_v1_{_W}{{20,}}", rf"voy?-{_W}{{24,}}", rf"pa-{_W}{{24,}}",
    # Packages: npm, PyPI, RubyGems, crates.io, NuGet, Docker, Clojars, Hex, JFrog.
    rf"npm_{_A}{{20,}}", rf"pypi-{_W}{{20,}}", rf"rubygems_{_HEX}{{24,}}", rf"cio{_A}{{32}}", "oy2[0-9a-z]{43}", rf"dckr_(?:pat|oat)_{_W}{{20,}}",
    "CLOJARS_[0-9a-z]{24,}", rf"AKCp{_A}{{24,}}", rf"cmVmdGtu{_A}{{24,}}",
    # Mail and messages: SendGrid, Mailgun, Mailchimp, Brevo, Twilio, Postmark's like, Resend, Klaviyo, MessageBird's like.
    rf"SG\.{_W}{{16,}}\.{_W}{{16,}}", rf"key-{_HEX}{{32}}", rf"x(?:keysib|smtpsib)-{_HEX}{{20,}}-{_A}{{6,}}",
    rf"SK{_HEX}{{32}}", rf"re_{_A}{{8}}_{_A}{{16,}}", rf"pk_{_HEX}{{34}}", rf"md-{_W}{{22}}", rf"KEY0[0-9A-F]{{24,}}_{_W}{{16,}}",
    # Clouds and hosts: DigitalOcean, Heroku, Netlify, Vercel, Fly.io, Supabase, PlanetScale, Neon, Render, Alibaba, Tencent,
    # Yandex, Scaleway, Linode's like, Cloudflare, Tailscale, Doppler, HashiCorp, Pulumi, Databricks.
    rf"do[opr]_v1_{_HEX}{{24,}}", rf"HRKU-{_W}{{24,}}", rf"nfp_{_A}{{24,}}", rf"vc[a-z]?_{_A}{{20,}}", rf"fo1_{_W}{{24,}}", "(?:FlyV1 )?fm[12][ar]?_[0-9A-Za-z+/=,_-]{24,}",
    rf"sbp_{_HEX}{{24,}}", rf"sb_secret_{_W}{{20,}}", "pscale_(?:pw|tkn|oauth)_[0-9A-Za-z_.=-]{20,}", rf"napi_{_A}{{24,}}", rf"rnd_{_A}{{24,}}",
    rf"LTAI{_A}{{12,24}}", rf"AKID{_A}{{16,40}}", rf"AQVN{_W}{{24,}}", r"t1\.[0-9A-Za-z_=-]{24,}", rf"y[0-3]_{_W}{{24,}}", rf"v1\.0-{_HEX}{{24}}-{_HEX}{{24,}}", rf"cf[a-z]{{2}}_{_W}{{24,}}",
    rf"tskey-[a-z]+-{_W}{{16,}}", rf"dp\.(?:pt|st|sa|ct|scim|audit)\.(?:[0-9a-z_-]{{2,35}}\.)?{_A}{{24,}}", rf"hv[sbr]\.{_W}{{20,}}", rf"s\.{_A}{{24}}\b", "akab-[0-9a-z]{16}-[0-9a-z]{16}",
    rf"pul-{_HEX}{{24,}}", rf"dapi{_HEX}{{32}}(?:-[0-9])?", rf"dkea{_HEX}{{32}}", rf"dose{_HEX}{{32}}", rf"dsapi{_HEX}{{32}}",
    # Watching: Grafana, New Relic, Sentry, Datadog's marked ones, Dynatrace, Honeycomb, LaunchDarkly, PostHog, Logtail's like.
    "gl(?:sa|c)_[0-9A-Za-z+/=_]{24,}", "NR(?:AK|II|RA|SP|AL)-[0-9A-Za-z_-]{20,}", "sntry[su]_[0-9A-Za-z_+/=.-]{24,}", r"dt0[a-z][0-9]{2}\.[0-9A-Z]{24}\.[0-9A-Z]{24,}",
    rf"hc[a-z]{{2}}k_{_A}{{24,}}", rf"(?:api|sdk|mob)-{_UUID}", rf"phx_{_W}{{24,}}", rf"ddapp_{_A}{{24,}}", rf"essu_{_W}{{24,}}=*",
    # Work: Postman, Linear, Notion, Figma, Airtable, Asana, HubSpot, Shopify, Dropbox, Typeform, Contentful, Readme, Miro's
    # like, Salesforce, ClickUp, monday.com's JWT aside, Intercom, Zendesk's like, Okta, Auth0's like, Mapbox, Algolia's like.
    rf"PMAK-{_HEX}{{20,}}-{_HEX}{{20,}}", rf"lin_(?:api|oauth)_{_A}{{24,}}", rf"(?:ntn|secret)_{_A}{{24,}}", rf"fig[dou]r?_{_W}{{24,}}",
    rf"pat{_A}{{14}}\.{_HEX}{{24,}}", rf"[0-9]/[0-9]{{10,}}(?:/[0-9]{{10,}})?:{_HEX}{{32}}", rf"pat-(?:na|eu|ap)[0-9]-{_UUID}", rf"shp(?:at|ca|pa|ss|ut|it)_{_HEX}{{32}}",
    rf"sl\.(?:u\.)?{_W}{{24,}}", "tfp_[0-9A-Za-z_.-]{24,}", rf"CFPAT-{_W}{{24,}}", "rdme_[0-9a-z]{24,}", rf"00D{_A}{{12,15}}![0-9A-Za-z._]{{24,}}", "pk_[0-9]{6,10}_[0-9A-Z]{32}",
    rf"dG9rOj{_A}{{24,}}={{0,2}}", rf"sk{_A}{{24,}}", rf"sk\.eyJ{_W}{{20,}}\.{_W}{{16,}}", rf"ops_eyJ{_W}{{24,}}", "A3-[0-9A-Z]{6}-(?:[0-9A-Z]{11}|[0-9A-Z]{6}-[0-9A-Z]{5})-[0-9A-Z]{5}-[0-9A-Z]{5}-[0-9A-Z]{5}",
    # Social: Facebook, Instagram, X, LinkedIn.
    rf"EAA[A-Z]{_A}{{24,}}", rf"IG(?:QV|AA){_W}{{24,}}", "AAAAAAAAAA[0-9A-Za-z%]{24,}", rf"WPL_AP[0-9]\.{_W}{{16,}}", rf"AAAA{_W}{{7}}:{_W}{{24,}}",
    # Building: Buildkite, CircleCI, SonarQube, Sourcegraph, Prefect, Codecov's like, Snyk's marked, Travis's like, Infracost,
    # Terraform, JetBrains, Vagrant's like, Deno, Expo's like, ngrok's like.
    rf"bk(?:ua|ct|pi|aj)_{_A}{{24,}}", rf"CCI(?:PAT|PRJ)_{_W}{{24,}}", rf"sq[pau]_{_HEX}{{24,}}", rf"sgp_(?:{_A}{{8,16}}_)?{_HEX}{{24,}}", rf"pn[ub]_{_A}{{24,}}", rf"ico-{_A}{{24,}}", "perm[:-][0-9A-Za-z=+/.-]{24,}",
    rf"dd[pow]_{_A}{{24,}}", rf"snyk_(?:uat|sat)\.{_W}{{8,}}\.{_W}{{20,}}",
    # Keys themselves: age, minisign's like, Nostr, BIP 32, WireGuard's by its name alone.
    "AGE-SECRET-KEY-(?:PQ-)?1[0-9A-Z]{24,}", "nsec1[02-9ac-hj-np-z]{24,}", f"[xyzt]prv{_A}{{24,}}", r"[5KL][1-9A-HJ-NP-Za-km-z]{50,51}\b",
    # RFC 7519, 7515, 7516: a header of JSON in base64url, then two to four further parts.
    rf"eyJ{_W}{{8,}}\.{_W}{{8,}}\.{_W}*(?:\.{_W}+){{0,2}}", rf"eyJ{_W}{{8,}}\.\.{_W}+\.{_W}+\.{_W}+", rf"v[1-4]\.(?:local|public)\.{_W}{{24,}}(?:\.{_W}+)?",
)  # fmt: skip
# Forms that begin with anything: what is looked for is the mark in them.  (the mark, the whole)
MARKED: Final = (
    # Entra ID's client secrets; Azure's keys: DevOps, storage, IoT, Cosmos DB, Cognitive Services.
    (r"[5-9]Q~", r"[0-9A-Za-z_~.]{3}[5-9]Q~[0-9A-Za-z_~.-]{30,40}"),
    ("JQQJ99|AZDO|AzCa|AIoT|ACDb", r"[0-9A-Za-z+/]{30,90}(?:JQQJ99|AZDO|AzCa|AIoT|ACDb)[0-9A-Za-z+/]{4,32}={0,2}"),
    # Discord's bot tokens; Telegram's.
    (rf"\.{_W}{{6}}\.{_W}{{27}}", rf"{_W}{{23,28}}\.{_W}{{6}}\.{_W}{{27,40}}"),
    (rf":{_W}{{35}}\b", rf"[0-9]{{8,10}}:{_W}{{35}}"),
    # Mailchimp, Mailgun, Terraform Cloud.
    (r"-us[0-9]{1,2}\b", rf"{_HEX}{{32}}-us[0-9]{{1,2}}"),
    (rf"-{_HEX}{{8}}-{_HEX}{{8}}\b", rf"{_HEX}{{32}}-{_HEX}{{8}}-{_HEX}{{8}}"),
    # New Relic's licence keys.
    (r"NRAL\b", rf"{_HEX}{{30,36}}NRAL"),
    (r"\.atlasv1\.", rf"{_A}{{14}}\.atlasv1\.[0-9A-Za-z_=-]{{40,90}}"),
)
