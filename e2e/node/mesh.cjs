// What a mesh does for a program that knows nothing of it; peers.Node preloads it into every Node process.
//
// A server that names no address to listen on gets 127.0.0.1: several of the packages would listen on every interface and
// cannot be told otherwise. And connections to the address before the "=" of WAYMARK_REDIRECT go to the one behind it, as
// the rules that the mesh installs in a pod have it: the program keeps the URL it knows, and the Host it sends.
"use strict";
const net = require("node:net");

const loopback = "127.0.0.1";
const everywhere = new Set([null, undefined, "", "::", "0.0.0.0"]);

// Below listen(), because a listen() that names an address is no longer done when it returns, which some programs rely on.
const bind = net.Server.prototype._listen2;
net.Server.prototype._listen2 = function (address, port, family, ...rest) {
  const toPort = typeof port === "number" && port >= 0;
  return toPort && everywhere.has(address) ? bind.call(this, loopback, port, 4, ...rest) : bind.call(this, address, port, family, ...rest);
};

const [from, to] = (process.env.WAYMARK_REDIRECT || "=").split("=");
const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...args) {
  // net.connect hands over an array of its normalised arguments.
  const options = Array.isArray(args[0]) ? args[0][0] : args[0];
  if (from && options && `${named(options.host)}:${options.port}` === from) {
    const [host, port] = to.split(":");
    const moved = { ...options, host, port: Number(port) };
    if (Array.isArray(args[0])) args[0][0] = moved;
    else args[0] = moved;
  }
  return connect.apply(this, args);
};

function named(host) {
  return !host || host === "localhost" || host === "::1" ? loopback : host;
}
