// Prints a key set of npm's jose, and a token of each algorithm.
import { SignJWT, exportJWK, generateKeyPair } from "jose";

const keys = [];
const tokens = [];
for (const alg of ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]) {
  const { publicKey, privateKey } = await generateKeyPair(alg);
  const kid = `jose-${alg}`;
  keys.push({ ...(await exportJWK(publicKey)), kid, use: "sig", alg });
  const claims = { sub: "alice", aud: ["tools", "x"], iss: "https://idp.example.com", scope: "a b" };
  const token = new SignJWT(claims).setProtectedHeader({ alg, kid, typ: "JWT" }).setIssuedAt().setExpirationTime("10m");
  tokens.push({ alg, token: await token.sign(privateKey) });
}
console.log(JSON.stringify({ keys, tokens }));
