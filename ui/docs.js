// Shows /openapi.json with Swagger UI. The token, if any, is the one entered on the page at /, for this tab only.
"use strict";

const $ = (id) => document.getElementById(id);

async function show() {
  const token = sessionStorage.getItem("token");
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch("openapi.json", { headers }).catch(() => null);
  const content = response && (await response.json().catch(() => null));
  $("access").hidden = !response || response.status !== 401;
  $("problem").hidden = Boolean(response && (response.ok || response.status === 401));
  if (!response || !response.ok) {
    const reason = content && content.error ? content.error.reason : "is it running?";
    $("problem").textContent = `The API document is not available: ${reason}`;
    return;
  }
  window.SwaggerUIBundle({
    spec: content,
    domNode: $("swagger"),
    deepLinking: true,
    validatorUrl: null, // no outside host
    defaultModelsExpandDepth: 0,
    requestInterceptor: (request) => {
      if (token && !request.headers.Authorization) request.headers.Authorization = `Bearer ${token}`;
      return request;
    },
  });
}

$("access").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", $("token").value);
  show();
});
show();
