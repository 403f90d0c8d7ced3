/* Descope's own Node SDK, unmodified, against a running suite: only its base URL is ours. Run by test_descope.py. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import test from 'node:test';
import DescopeClient from '@descope/node-sdk';

const { BASE_URL, PROJECT_ID, MANAGEMENT_KEY, REFRESH_TOKEN, USER_ID, OTHER_PROJECT_ID } = process.env;
const silent = { log() {}, debug() {}, info() {}, warn() {}, error() {} };
const client = (options = {}) => DescopeClient({ projectId: PROJECT_ID, managementKey: MANAGEMENT_KEY, baseUrl: BASE_URL, logger: silent, ...options });
const { management, me } = client();
const { user } = management;
const unique = () => `d${randomBytes(8).toString('hex')}`;

function good(response) {
  assert.equal(response.ok, true, JSON.stringify(response));
  return response.data;
}

function refused(response, http, code) {
  assert.equal(response.ok, false, JSON.stringify(response));
  assert.equal(response.code, http, JSON.stringify(response));
  assert.equal(response.error.errorCode, code);
  assert.ok(response.error.errorDescription);
  return response.error;
}

test('create fills every member', async () => {
  const login = `${unique()}@example.com`;
  const made = good(await user.create(login, { displayName: 'Désirée', givenName: 'D', customAttributes: { plan: 'pro', n: 1 }, picture: 'https://example.com/p' }));
  assert.match(made.userId, /^usr_/);
  assert.deepEqual(made.loginIds, [login]);
  assert.deepEqual(made.externalIds, made.loginIds);
  assert.equal(made.email, login);
  assert.equal(made.verifiedEmail, true);
  assert.equal(made.name, 'Désirée');
  assert.equal(made.familyName, '');
  assert.equal(made.phone, '');
  assert.equal(made.status, 'invited');
  assert.deepEqual(made.customAttributes, { plan: 'pro', n: 1 });
  assert.ok(Number.isInteger(made.createdTime) && Math.abs(made.createdTime - Date.now() / 1000) < 120);
  for (const list of ['roleNames', 'userTenants', 'ssoAppIds']) assert.deepEqual(made[list], []);
  for (const flag of ['test', 'TOTP', 'SAML', 'webauthn', 'password', 'verifiedPhone']) assert.equal(made[flag], false, flag);
  assert.deepEqual(made.OAuth, {});
});

test('load by login id, by user id, and by a login id that needs encoding', async () => {
  const login = unique();
  const made = good(await user.create(login, { email: `${login}+x@example.com`, phone: '+4915112345678', verifiedEmail: false, additionalLoginIds: [`${login}-2`] }));
  assert.equal(made.verifiedEmail, false);
  assert.equal(made.verifiedPhone, true);
  for (const id of [login, `${login}-2`, `${login}+x@example.com`, made.userId]) assert.equal(good(await user.load(id)).userId, made.userId, id);
  assert.deepEqual(good(await user.loadByUserId(made.userId)), made);
});

test('update overwrites', async () => {
  const login = unique();
  const made = good(await user.create(login, { email: `${login}@example.com`, displayName: 'Old', givenName: 'G', customAttributes: { a: 1, b: 2 }, additionalLoginIds: [`${login}-2`] }));
  const full = good(await user.update(login, { displayName: 'New', customAttributes: { b: 3 } }));
  assert.equal(full.userId, made.userId);
  assert.equal(full.name, 'New');
  assert.equal(full.givenName, '');
  assert.equal(full.email, '');
  assert.equal(full.verifiedEmail, false);
  assert.deepEqual(full.customAttributes, { b: 3 });
  assert.deepEqual(full.loginIds, [login]);
  assert.equal(full.status, made.status);
  const byId = good(await user.update(made.userId, { email: `${login}@example.com` }));
  assert.equal(byId.email, `${login}@example.com`);
  assert.equal(byId.verifiedEmail, true);
  assert.equal(byId.name, '');
  assert.deepEqual(byId.customAttributes, {});
  assert.ok(byId.loginIds.includes(login));
  assert.deepEqual(good(await user.load(login)), byId);
});

test('history is a bare array', async () => {
  const silent = good(await user.create(unique(), { email: `${unique()}@example.com` }));
  const logins = good(await user.history([USER_ID, silent.userId]));
  assert.ok(Array.isArray(logins) && logins.length >= 1);
  for (const login of logins) {
    assert.equal(login.userId, USER_ID);
    assert.ok(Number.isInteger(login.loginTime));
    assert.equal(typeof login.ip, 'string');
    assert.equal(login.city, '');
  }
  assert.deepEqual(good(await user.history([])), []);
});

test('me with a refresh token', async () => {
  const self = good(await me(REFRESH_TOKEN));
  assert.equal(self.userId, USER_ID);
  assert.deepEqual(self, good(await user.loadByUserId(USER_ID)));
  refused(await me('drt_nonsense'), 401, 'E064001');
  refused(await me(MANAGEMENT_KEY), 401, 'E111119');
});

test('codes', async () => {
  const login = `${unique()}@example.com`;
  good(await user.create(login, {}));
  refused(await user.create(login, {}), 409, 'E062107');
  refused(await user.load(unique()), 404, 'E112102');
  refused(await user.loadByUserId('usr_none'), 404, 'E112102');
  refused(await user.update(unique(), {}), 404, 'E112102');
  refused(await user.load(''), 400, 'E011002');
  assert.equal(refused(await user.create(login.replace('@', ''), { email: 'no address' }), 400, 'E011003').errorMessage.length > 0, true);
  refused(await user.search({}), 404, 'E011001');
  for (const options of [{ managementKey: 'wrong' }, { managementKey: undefined }, { projectId: OTHER_PROJECT_ID }, { projectId: 'P2none' }])
    refused(await client(options).management.user.load(login), 401, 'E111119');
});
