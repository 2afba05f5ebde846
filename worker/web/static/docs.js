"use strict";

// validatorUrl: without null, Swagger UI asks a third-party host to judge the description.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  layout: "BaseLayout",
  deepLinking: true,
  validatorUrl: null,
});
