// An OpenID provider: users with any name and password, access tokens as JWTs or opaque ones by the resource asked for, its keys
// where examples/operators fetches them, and introspection.
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import Provider from "oidc-provider";

const key = (type, options, alg) => ({ ...generateKeyPairSync(type, options).privateKey.export({ format: "jwk" }), use: "sig", alg });

const provider = new Provider("https://idp.example.com", {
  clients: [
    { client_id: "agent", client_secret: "not a secret of the agent", redirect_uris: ["https://agent.example.com/callback"] },
    { client_id: "waypoint", client_secret: "not a secret / of: the waypoint", redirect_uris: [], response_types: [], grant_types: [] },
  ],
  jwks: { keys: [key("rsa", { modulusLength: 2048 }, "RS256"), key("ec", { namedCurve: "P-256" }, "ES256")] },
  cookies: { keys: ["not a secret"] },
  routes: { jwks: "/realms/company/keys" },
  scopes: ["openid", "offline_access"],
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  extraTokenClaims: (ctx, token) => (token.accountId === "ann" ? { groups: ["staff", "investment-advisors"] } : undefined),
  features: {
    devInteractions: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      getResourceServerInfo: (ctx, resource) => ({
        scope: "github-readonly bank-agents",
        audience: resource.includes("other.") ? "others" : "tools",
        accessTokenTTL: 600,
        accessTokenFormat: resource.endsWith("/opaque") ? "opaque" : "jwt",
        jwt: { sign: { alg: resource.endsWith("/es256") ? "ES256" : "RS256" } },
      }),
    },
  },
});

const server = createServer(provider.callback());
server.listen(0, "127.0.0.1", () => console.log(`serves at 127.0.0.1:${server.address().port};`));
