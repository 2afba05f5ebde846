"""HTTP to the CRM and to the bot.

`guard` repeats a POST behind a circuit breaker, `post` sends it once, `client` builds the clients, signs what
goes to the bot and names what a request failed of, `transport` is the connection below all of them.
"""
