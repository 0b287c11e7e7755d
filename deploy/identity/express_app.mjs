// An Express app that knows who asks. Needs: npm install express jose. Run: PORT=8000 node express_app.mjs
//
// POSTERN_SIGN_IN is the address people sign in at, POSTERN_APP the app's own, as in https://app.example.
// With certificates of the gateway's own authority, NODE_EXTRA_CA_CERTS names its root.
import express from "express";
import { createRemoteJWKSet, jwtVerify } from "jose";

const issuer = process.env.POSTERN_SIGN_IN.replace(/\/*$/, "/");
const audience = process.env.POSTERN_APP.replace(/\/*$/, "/");
const keys = createRemoteJWKSet(new URL(".well-known/postern/jwks.json", issuer));

async function signedIn(request, response, next) {
  try {
    const statement = request.get("X-Postern-Jwt") ?? "";
    const rules = { issuer, audience, algorithms: ["ES256"], requiredClaims: ["sub", "iat", "exp"] };
    request.person = (await jwtVerify(statement, keys, rules)).payload;
  } catch {
    return response.status(401).json({ detail: "this did not come through the gateway" });
  }
  next();
}

const app = express();
app.disable("x-powered-by");
app.use(signedIn);
app.get("/", (request, response) => {
  response.json({ user: request.person.sub, groups: request.person.groups });
});
app.listen(Number(process.env.PORT ?? 8000), "127.0.0.1");
