/** Every screen and state of the window, and how to get there in any language. */
import type { Page } from 'playwright-core';

import type { Scenario } from './scenarios';

export interface Screen {
  scenario: Scenario;
  act?: (page: Page) => Promise<unknown>;
  /** What lies over the window; it is not looked at as a part of it. */
  over?: 'veil' | 'menu';
}

type Place = 'transfers' | 'library' | 'services' | 'settings';
const places: Place[] = ['transfers', 'library', 'services', 'settings'];

/** Presses that entry of the side bar. */
export const go = (page: Page, place: Place) =>
  page.locator('.side nav').first().getByRole('button').nth(places.indexOf(place)).click();

const row = (page: Page, name: string) => page.getByRole('row', { name: new RegExp(name) });
const tool = (page: Page, at: number) => page.locator('.tools .tool').nth(at).click();
const tab = (page: Page, at: number) => page.locator('.tabs button').nth(at).click();

const letGo = (page: Page, names: string[]) =>
  page.evaluate(
    (paths) => window.fake.drag('drop', 600, 400, paths),
    names.map((name) => `/home/ada/${name}`),
  );

async function openAsset(page: Page) {
  await go(page, 'library');
  await row(page, 'panel').click();
}

export const screens: Record<string, Screen> = {
  'first run': { scenario: 'first-run' },
  empty: { scenario: 'empty' },
  transfers: { scenario: 'busy', act: (page) => row(page, 'interview-raw').click() },
  details: { scenario: 'busy', act: (page) => row(page, 'interview-raw').dblclick() },
  'details of a failure': {
    scenario: 'failed',
    act: async (page) => {
      await page.locator('.tools input').fill('take 8');
      await row(page, 'take 8').dblclick();
    },
  },
  'details of a missing file': {
    scenario: 'done',
    act: async (page) => {
      await row(page, 'photos of the site').dblclick();
      await page.locator('.missing').waitFor();
    },
  },
  'details with a picture': {
    scenario: 'done',
    act: async (page) => {
      await row(page, 'keynote').dblclick();
      await page.locator('.thumbnail').waitFor();
    },
  },
  'details with a map': {
    scenario: 'busy',
    act: async (page) => {
      await page.locator('.tools input').fill('drone');
      await row(page, 'drone flight').dblclick();
    },
  },
  'the day': { scenario: 'busy', over: 'menu', act: (page) => page.locator('.today').click() },
  'add bar': {
    scenario: 'busy',
    act: async (page) => {
      await page.locator('.add input').fill('re_8f31');
      await page.locator('.answer .button').waitFor();
    },
  },
  'add bar at a loss': {
    scenario: 'busy',
    act: async (page) => {
      await page.locator('.add input').fill('what is this');
      await page.locator('.answer svg').waitFor();
    },
  },
  'upload menu': { scenario: 'busy', over: 'menu', act: (page) => page.locator('.upload-more').click() },
  'sort menu': { scenario: 'busy', over: 'menu', act: (page) => tool(page, 0) },
  'more menu': { scenario: 'busy', over: 'menu', act: (page) => tool(page, 1) },
  drop: {
    scenario: 'busy',
    over: 'veil',
    act: (page) => page.evaluate(() => window.fake.drag('enter', 300, 300)),
  },
  'a toast': {
    scenario: 'done',
    act: async (page) => {
      await row(page, 'keynote').click();
      await page.keyboard.press('Delete');
      await page.locator('.toast').waitFor();
    },
  },
  'nothing active': { scenario: 'done', act: (page) => tab(page, 1) },
  'nothing done': { scenario: 'offline', act: (page) => tab(page, 2) },
  'nothing needs you': { scenario: 'done', act: (page) => tab(page, 3) },
  'nothing found': { scenario: 'busy', act: (page) => page.locator('.tools input').fill('zzz') },
  failed: { scenario: 'failed' },
  offline: { scenario: 'offline' },
  broken: { scenario: 'broken' },
  unreachable: { scenario: 'unreachable' },
  library: { scenario: 'busy', act: openAsset },
  'library, nothing yet': { scenario: 'empty', act: (page) => go(page, 'library') },
  'library, nothing found': {
    scenario: 'busy',
    act: async (page) => {
      await go(page, 'library');
      await page.locator('.tools input').fill('zzz');
      await page.locator('.empty').waitFor();
    },
  },
  confirmation: {
    scenario: 'busy',
    act: async (page) => {
      await go(page, 'services');
      await page.locator('[data-changes="key"] + button').first().click();
      await page.getByRole('alertdialog').waitFor();
    },
  },
  'sent before': {
    scenario: 'busy',
    act: async (page) => {
      await letGo(page, ['keynote-final.mp4', 'copy of theme music.flac', 'new.mp4']);
      await page.getByRole('alertdialog').waitFor();
    },
  },
  'comparing with what was sent': {
    scenario: 'busy',
    act: async (page) => {
      await letGo(page, ['endless.img']);
      await page.getByRole('alertdialog').waitFor();
    },
  },
  'a link': {
    scenario: 'busy',
    act: async (page) => {
      await page.evaluate(() => window.fake.link('re_8f31c0d4b7a2'));
      await page.getByRole('alertdialog').waitFor();
    },
  },
  'a refused link': {
    scenario: 'busy',
    act: async (page) => {
      await page.evaluate(() => window.fake.link(''));
      await page.getByRole('alertdialog').waitFor();
    },
  },
  services: {
    scenario: 'broken',
    act: async (page) => {
      await go(page, 'services');
      await page.locator('.card').first().locator('footer .button').click();
    },
  },
  settings: { scenario: 'busy', act: (page) => go(page, 'settings') },
  'a choice': {
    scenario: 'busy',
    over: 'menu',
    act: async (page) => {
      await go(page, 'settings');
      await page.locator('.choice').last().click();
    },
  },
  palette: { scenario: 'busy', act: (page) => page.keyboard.press('Control+k') },
  shortcuts: { scenario: 'busy', act: (page) => page.keyboard.press('?') },
};
