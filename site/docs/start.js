SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  // What is typed in to try an endpoint ends with the page, and nobody else is asked about the document.
  persistAuthorization: false,
  validatorUrl: null,
});
