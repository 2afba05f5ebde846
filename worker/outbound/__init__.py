"""HTTP to the CRM and to the bot.

`guard` repeats a POST behind a circuit breaker, `post` sends it once, `client` builds the clients, signs
messages to the bot and names the causes of failures, `transport` is the connection below all of them.
"""
